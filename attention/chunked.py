"""Attention in pieces that fit into memory: slow and small, and it runs everywhere.

``sub_quadratic`` never holds more than a block of the score matrix. Source: Rabe and Staats,
"Self-attention Does Not Need O(n^2) Memory", arXiv 2112.05682, section 3: the running maximum and
sum of each row let the blocks of keys be taken one after the other. ``split`` divides rows only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .base import Backend, InGraphs, repeat_kv

if TYPE_CHECKING:
    from torch import Tensor, device

SHARE = 0.25
"""The part of the free memory that the blocks may take."""

MOST_BYTES = 256 * 2**20
"""Larger blocks gain no speed, so they stop here where memory is plentiful."""

BYTES_PER_SCORE = 10
"""A score as it was multiplied, in fp32, and as a weight: 2 + 4 + 2 bytes in half precision, 4 and
a mask's share in fp32."""

UNASKED_BYTES = 64 * 2**20
"""Blocks up to here are taken without asking how much is free, which may cost a millisecond."""

LEAST_ROWS = 64


def sub_quadratic(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Attention by blocks of rows and keys, whose sizes follow the memory that is free."""
    rows, keys = q.shape[2], k.shape[2]
    if _whole(q, k) > UNASKED_BYTES:
        rows, keys = chunk_sizes(*_sizes(q, k), free_bytes(q.device))
    return in_chunks(q, k, v, mask, scale, rows, keys)


def split(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Attention by blocks of rows, each with all keys."""
    rows = q.shape[2]
    if _whole(q, k) > UNASKED_BYTES:
        rows = fitting_rows(*_sizes(q, k), _budget(free_bytes(q.device)))
    return in_chunks(q, k, v, mask, scale, rows, k.shape[2])


def chunk_sizes(batch_heads: int, q_len: int, kv_len: int, free: int) -> tuple[int, int]:
    """Rows and keys of a block, so that its scores fit into a share of ``free`` bytes.

    Whole rows are kept as long as ``LEAST_ROWS`` of them fit; then keys are divided too, down to
    the square root of their number, as in the paper; then rows again.
    """
    budget = _budget(free)
    if BYTES_PER_SCORE * batch_heads * min(q_len, LEAST_ROWS) * kv_len <= budget:
        return fitting_rows(batch_heads, q_len, kv_len, budget), kv_len
    rows = min(q_len, LEAST_ROWS)
    least_keys = math.isqrt(max(kv_len - 1, 0)) + 1
    keys = max(least_keys, budget // (BYTES_PER_SCORE * batch_heads * rows))
    return fitting_rows(batch_heads, rows, keys, budget), min(keys, kv_len)


def fitting_rows(batch_heads: int, q_len: int, keys: int, budget: int) -> int:
    """So many rows of ``keys`` scores fit into ``budget`` bytes; at least one."""
    return max(1, min(q_len, budget // (BYTES_PER_SCORE * batch_heads * keys)))


def free_bytes(device: device) -> int:
    """Memory that a torch device has free, with what torch's allocator holds unused.

    The computer's, where the device tells nothing of its own: a CPU, MPS, and XPU before torch 2.6.
    """
    import torch

    memory = getattr(torch, device.type, None)
    if memory is not None and hasattr(memory, "mem_get_info"):
        free, _ = memory.mem_get_info(device)
        return int(free + memory.memory_reserved(device) - memory.memory_allocated(device))
    import psutil

    return int(psutil.virtual_memory().available)


def in_chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float | None,
    rows: int,
    keys: int,
) -> Tensor:
    """Attention in blocks of ``rows`` by ``keys``; tensors as in :mod:`.base`."""
    import torch

    k, v = repeat_kv(q, k, v)
    q_len, kv_len = q.shape[2], k.shape[2]
    if mask is not None:
        mask = mask.expand(*mask.shape[:2], q_len, kv_len)
    scale = q.shape[3] ** -0.5 if scale is None else scale
    out = torch.empty((*q.shape[:3], v.shape[3]), dtype=q.dtype, device=q.device)
    for start in range(0, q_len, rows):
        end = min(start + rows, q_len)
        block_mask = None if mask is None else mask[:, :, start:end]
        out[:, :, start:end] = _attend_rows(q[:, :, start:end] * scale, k, v, block_mask, keys)
    return out


def _attend_rows(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, keys: int) -> Tensor:
    """Attention of scaled rows; a row whose keys are all masked gives zeros, as in torch."""
    import torch

    if mask is None and keys >= k.shape[2]:
        return (q @ k.transpose(2, 3)).softmax(-1) @ v
    total = q.new_zeros((*q.shape[:3], v.shape[3]), dtype=torch.float32)
    summed = q.new_zeros((*q.shape[:3], 1), dtype=torch.float32)
    highest = torch.full_like(summed, float("-inf"))
    for start in range(0, k.shape[2], keys):
        end = min(start + keys, k.shape[2])
        scores = (q @ k[:, :, start:end].transpose(2, 3)).float()
        if mask is not None:
            part = mask[..., start:end]
            if part.dtype == torch.bool:
                scores.masked_fill_(~part, float("-inf"))
            else:
                scores += part
        new_highest = torch.maximum(highest, scores.amax(-1, keepdim=True))
        origin = new_highest.masked_fill(new_highest == float("-inf"), 0.0)
        weights = scores.sub_(origin).exp_()
        shrink = (highest - origin).exp_()
        summed = summed.mul_(shrink).add_(weights.sum(-1, keepdim=True))
        total = total.mul_(shrink).add_(weights.to(v.dtype) @ v[:, :, start:end])
        highest = new_highest
    return total.div_(summed.clamp_min_(torch.finfo(torch.float32).tiny)).to(q.dtype)


def _budget(free: int) -> int:
    return min(MOST_BYTES, int(free * SHARE))


def _whole(q: Tensor, k: Tensor) -> int:
    return BYTES_PER_SCORE * math.prod(_sizes(q, k))


def _sizes(q: Tensor, k: Tensor) -> tuple[int, int, int]:
    return q.shape[0] * q.shape[1], q.shape[2], k.shape[2]


BACKENDS = (
    Backend(
        "sub_quadratic",
        "attention in blocks of rows and keys; slow and small",
        sub_quadratic,
        upcasts=False,
        in_graphs=InGraphs.CALLED,
    ),
    Backend(
        "split",
        "attention in blocks of rows; slow and small",
        split,
        upcasts=False,
        in_graphs=InGraphs.CALLED,
    ),
)
