"""xFormers' memory-efficient attention.

Source: the package's own operators (``xformers/ops/fmha``, release 0.0.35): CUTLASS up to compute
capability 9.0, FlashAttention from 8.0, composable_kernel on AMD's Instinct cards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import BEFORE_AMPERE, FLOATS, HALF, Backend, Target, repeat_kv
from .flash import CK_TARGETS
from .packages import import_fault

if TYPE_CHECKING:
    from torch import Tensor

MASK_ALIGNMENT = 8
"""A row of a bias must begin at a multiple of so many elements."""


def xformers(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """``xformers.ops.memory_efficient_attention``, which has the layout NHD."""
    from xformers.ops import memory_efficient_attention

    k, v = repeat_kv(q, k, v)
    nhd = (x.transpose(1, 2) for x in (q, k, v))
    bias = None if mask is None else aligned_bias(mask, q, k.shape[2])
    return memory_efficient_attention(*nhd, attn_bias=bias, scale=scale).transpose(1, 2)


def aligned_bias(mask: Tensor, q: Tensor, kv_len: int) -> Tensor:
    """``mask`` as xFormers wants it: added, ``[batch, heads, q_len, kv_len]``, aligned rows."""
    import torch

    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, float("-inf"))
    width = -(-kv_len // MASK_ALIGNMENT) * MASK_ALIGNMENT
    batch, heads, q_len, _ = q.shape
    rows = torch.empty((*mask.shape[:2], q_len, width), dtype=q.dtype, device=q.device)
    rows[..., :kv_len] = mask
    return rows[..., :kv_len].expand(batch, heads, -1, -1)


def without_kernels(package: str) -> str:
    """Why the installed package has nothing to run; empty where it has.

    Where its extension does not load, its import warns and goes on: it then has the kernels of
    torch that it can call itself (release 0.0.35, on NVIDIA), or none.
    """
    reason = import_fault(package + ".ops")
    if reason:
        return reason
    from xformers.ops import fmha

    if any(kind.FwOp.is_available() for kind in (fmha.flash, fmha.cutlass, fmha.ck)):
        return ""
    return "the package xformers has no kernels: its extension was made for another torch"


BACKENDS = (
    Backend(
        "xformers",
        "xFormers memory-efficient attention",
        xformers,
        (
            Target(capabilities=(((5, 0), (7, 9)),), dtypes=BEFORE_AMPERE),
            Target(capabilities=(((8, 0), (9, 0)),), dtypes=FLOATS),
            Target(capabilities=(((10, 0), (99, 9)),), dtypes=HALF, most_head_dim=256, masks=False),
            Target(gfx=CK_TARGETS, dtypes=HALF, most_head_dim=512),
        ),
        package="xformers",
        install="pip install xformers, in the version made for your torch",
        fault=without_kernels,
    ),
)
