"""What the scales of an 8-bit weight cover: all of it, a row, a part of a row, or a block.

Files of many tools hold FP8 weights that differ in nothing but the shape of ``weight_scale``. The
shapes that are known are here, and a shape that is not known is no reason to guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCKS = (128, 64, 32, 16, 256)
"""Sides of square blocks that share a scale; 128 is DeepSeek's and transformers' fine-grained FP8.
"""

KNOWN = "one number, [out], [out, 1], [out, in / group] or one number per square block"


def granularity(shape: Sequence[int], scale_shape: Sequence[int]) -> tuple[int, int] | None:
    """How many rows and columns of a weight share a scale; ``None`` for a shape that is unknown.

    Args:
        shape: of the weight ``[out, in]``; further dimensions count as columns.
        scale_shape: of its scales.
    """
    rows, columns = shape[0], prod(shape[1:])
    sizes = list(scale_shape)
    if prod(sizes) == 1:
        return rows, columns
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes.pop()
    if sizes in ([rows], [rows, 1]):
        return 1, columns
    if len(sizes) != 2 or not columns:
        return None
    if sizes[0] == rows and columns % sizes[1] == 0:
        return 1, columns // sizes[1]
    for side in BLOCKS:
        if sizes == [ceil(rows / side), ceil(columns / side)]:
            return side, side
    return None


def multiply(weight: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``weight`` times its scales, in ``dtype``.

    Args:
        weight: ``[out, in]``, or of a convolution; any 8-bit type.
        scale: of a shape that :func:`granularity` knows.

    Raises:
        ValueError: it does not know it.
    """
    found = granularity(weight.shape, scale.shape)
    if found is None:
        raise ValueError(
            f"scales of shape {list(scale.shape)} do not fit a weight of shape "
            f"{list(weight.shape)}: known are {KNOWN}"
        )
    wide = weight.to(dtype)
    if scale.numel() == 1:
        return wide * scale.to(dtype).reshape(())
    matrix = wide.reshape(wide.shape[0], -1)
    rows, columns = found
    if rows == 1:
        parts = matrix.view(len(matrix), -1, columns)
        return parts.mul_(scale.reshape(len(matrix), -1, 1)).reshape(wide.shape)
    for part, block_scales in zip(matrix.split(rows), scale, strict=True):
        part.mul_(block_scales.repeat_interleave(columns)[: matrix.shape[1]])
    return wide
