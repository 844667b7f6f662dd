"""A matrix quantized a few rows at a time, so that no fp32 copy of the whole of it is made."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK_ELEMENTS = 2**20
"""So many fp32 numbers lie in a processor's cache: several passes cost little more than one."""


def in_blocks(*matrices: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """The same rows of each, as views, with about :data:`BLOCK_ELEMENTS` of the first at a time.

    All parts have equally many rows, or one less: a few rows left over may be multiplied by another
    kernel, which rounds otherwise.
    """
    first = matrices[0]
    count = max(1, min(len(first), ceil(first.numel() / BLOCK_ELEMENTS)))
    return zip(*(matrix.tensor_split(count) for matrix in matrices), strict=True)


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
    scales = scale.expand(len(weight), 1)
    for part, part_scale, rounded_part in in_blocks(weight, scales, rounded):
        block = part.to(torch.float32, copy=True).div_(part_scale)
        if not dtype.is_floating_point:
            block.round_()
        rounded_part.copy_(block.clamp_(-limit, limit))
    return rounded
