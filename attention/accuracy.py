"""How far a kernel's result is from attention in fp32, on a sample of sequences, heads and rows.

A row of the result depends on its own query and on all keys only, so a sample of rows is checked
exactly, at a small part of the cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import HALF
from .chunked import in_chunks

if TYPE_CHECKING:
    from torch import Tensor

MOST_SEQUENCES = 4
MOST_HEADS = 4
MOST_ROWS = 128
KEYS = 4096
"""Keys that the reference takes at a time."""

EXACT_FACTOR = 2.0
"""An exact kernel may be so many times as far from fp32 as torch's own sdpa is."""


def relative_error(
    out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> float | None:
    """Relative RMS error: ``rms(out - reference) / rms(reference)``; tensors as in :mod:`.base`.

    ``None`` where the reference itself is not finite, so that nothing can be said of the kernel.
    NaN or infinity where the kernel's result is not finite.
    """
    import torch

    if q.shape[0] > MOST_SEQUENCES:
        sequences = _spread(q.shape[0], MOST_SEQUENCES)
        if mask is not None and mask.shape[0] == q.shape[0]:
            mask = mask[sequences]
        q, k, v, out = (x[sequences] for x in (q, k, v, out))
    groups = q.shape[1] // k.shape[1]
    heads = _spread(k.shape[1], MOST_HEADS)
    q_heads = [head * groups + i for head in heads for i in range(groups)]
    rows = _spread(q.shape[2], MOST_ROWS)
    if mask is not None:
        mask = mask.expand(mask.shape[0], q.shape[1], q.shape[2], k.shape[2])
        mask = mask[:, q_heads][:, :, rows]
        mask = mask if mask.dtype == torch.bool else mask.float()
    sample = q[:, q_heads][:, :, rows].float()
    reference = in_chunks(
        sample, k[:, heads].float(), v[:, heads].float(), mask, scale, MOST_ROWS, KEYS
    )
    size = reference.square().mean()
    if not bool(torch.isfinite(size)):
        return None
    difference = out[:, q_heads][:, :, rows].float() - reference
    tiny = torch.finfo(torch.float32).tiny
    return float((difference.square().mean() / size.clamp_min(tiny)).sqrt())


def exact_bound(dtype: str, sdpa_error: float | None) -> float:
    """The error above which a kernel that should be exact is wrong.

    No less than two units of rounding of the dtype, so that a lucky sdpa rejects nobody.
    """
    import torch

    rounding = torch.finfo(getattr(torch, dtype)).eps if dtype in HALF else 1e-5
    return max(EXACT_FACTOR * (sdpa_error or 0.0), 2 * rounding)


def _spread(count: int, most: int) -> list[int]:
    """Up to ``most`` indices below ``count``, evenly spread, the last one among them."""
    if count <= most:
        return list(range(count))
    return [(index + 1) * count // most - 1 for index in range(most)]
