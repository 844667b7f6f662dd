import logging

import branch
import torch

logger = logging.getLogger("attention")

if branch.NAME == "neo":

    def get_attn_precision(attn_precision, current_dtype):
        return attn_precision

    def sageattn(q, k, v, attn_mask=None, is_causal=False, tensor_layout="HND"):
        raise RuntimeError("SageAttention has no kernel for this head_dim")

    def attention_sage(
        q,
        k,
        v,
        heads,
        mask=None,
        attn_precision=None,
        skip_reshape=False,
        skip_output_reshape=False,
        **kwargs,
    ):
        try:
            return sageattn(q, k, v, attn_mask=mask)
        except Exception as e:
            logger.error(f"Error running sageattn: {e}")
        return attention_pytorch(q, k, v, heads, mask=mask, skip_reshape=skip_reshape)

    def attention_pytorch(
        q,
        k,
        v,
        heads,
        mask=None,
        attn_precision=None,
        skip_reshape=False,
        skip_output_reshape=False,
        **kwargs,
    ):
        return _attend(q, k, v, heads, mask)

    attention_function = attention_sage
else:

    def get_attn_precision(attn_precision=torch.float32):
        return attn_precision

    def attention_sub_quad(
        query, key, value, heads, mask=None, attn_precision=None, skip_reshape=False
    ):
        return _attend(query, key, value, heads, mask)

    def attention_split(q, k, v, heads, mask=None, attn_precision=None, skip_reshape=False):
        return _attend(q, k, v, heads, mask)

    def attention_xformers(q, k, v, heads, mask=None, attn_precision=None, skip_reshape=False):
        return attention_pytorch(q, k, v, heads, mask)

    def attention_pytorch(q, k, v, heads, mask=None, attn_precision=None, skip_reshape=False):
        return _attend(q, k, v, heads, mask)

    attention_function = attention_sub_quad


def _attend(q, k, v, heads, mask):
    batch, _, width = q.shape
    q, k, v = (t.view(batch, -1, heads, width // heads).transpose(1, 2) for t in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return out.transpose(1, 2).reshape(batch, -1, width)
