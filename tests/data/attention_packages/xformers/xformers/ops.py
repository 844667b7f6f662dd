"""The layout NHD, no grouped-query attention in 4 dimensions, an aligned and expanded bias."""

from types import SimpleNamespace

import torch


class FwOp:
    """A kernel, as ``xformers.ops.fmha`` has one for each of its families."""

    @classmethod
    def is_available(cls):
        return True


fmha = SimpleNamespace(**{kind: SimpleNamespace(FwOp=FwOp) for kind in ("flash", "cutlass", "ck")})


def memory_efficient_attention(
    query, key, value, attn_bias=None, p=0.0, scale=None, *, op=None, output_dtype=None
):
    assert query.shape[2] == key.shape[2] == value.shape[2]
    if attn_bias is not None:
        batch, length, heads, _ = query.shape
        if attn_bias.shape != (batch, heads, length, key.shape[1]):
            raise ValueError("Invalid shape for attention bias")
        if attn_bias.dtype != query.dtype or attn_bias.stride(-2) % 8:
            raise ValueError("attn_bias is not correctly aligned")
    return torch.nn.functional.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in (query, key, value)), attn_bias, scale=scale
    ).transpose(1, 2)
