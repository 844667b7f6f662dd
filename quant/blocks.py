"""A matrix scaled and rounded in blocks, so that no fp32 copy of the whole of it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK_ELEMENTS = 2**20
"""So many fp32 numbers lie in a processor's cache: several passes cost little more than one."""


def divide_and_round(
    weight: torch.Tensor, scale: torch.Tensor, limit: float, dtype: torch.dtype
) -> torch.Tensor:
    """``weight / scale`` in ``dtype``, computed in fp32 and held between ``-limit`` and ``limit``.

    Args:
        weight: ``[out, in]``, any float dtype.
        scale: fp32, a scalar or ``[out, 1]``.
        dtype: a float type, to which torch rounds, or an integer type, to whose nearest number
            (of two, the even one) it is rounded.
    """
    import torch

    rounded = torch.empty(weight.shape, dtype=dtype, device=weight.device)
    rows = max(1, BLOCK_ELEMENTS // max(1, weight.shape[1]))
    buffer = torch.empty((rows, weight.shape[1]), dtype=torch.float32, device=weight.device)
    for start in range(0, weight.shape[0], rows):
        part = slice(start, start + rows)
        block = buffer[: weight[part].shape[0]]
        block.copy_(weight[part]).div_(scale[part] if scale.ndim else scale)
        if not dtype.is_floating_point:
            block.round_()
        rounded[part].copy_(block.clamp_(-limit, limit))
    return rounded
