"""The block formats of GGUF files, widened with torch on any device.

A block holds a fixed number of weights with its scales; in the K formats a block of 256 has eight
or sixteen parts whose scales are small integers. Source: the block layouts of ggml (ggml-common.h);
the package gguf has the same in NumPy, and the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import ggml_iq as few

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BlockType:
    """A block of ``weights`` numbers in ``nbytes`` bytes.

    ``widen`` takes blocks as uint8 ``[n, nbytes]`` and returns fp32 ``[n, weights]``.
    """

    weights: int
    nbytes: int
    widen: Callable[[torch.Tensor], torch.Tensor]


def _halves(blocks: torch.Tensor, start: int) -> torch.Tensor:
    """The fp16 number at byte ``start`` of each block: fp32 ``[n, 1]``."""
    import torch

    return blocks[:, start : start + 2].contiguous().view(torch.float16).to(torch.float32)


def _parts(packed: torch.Tensor, groups: int, width: int, bits: int) -> torch.Tensor:
    """Unpack fields of ``bits`` bits: ``[n, groups * width]`` to ``[n, groups * 8 / bits, width]``.

    The lowest bits of a group's bytes come first.
    """
    import torch

    shifts = torch.arange(0, 8, bits, device=packed.device, dtype=torch.uint8)
    fields = packed.reshape(-1, groups, 1, width) >> shifts.reshape(1, 1, -1, 1)
    return (fields & (2**bits - 1)).reshape(packed.shape[0], -1, width)


def _signs(packed: torch.Tensor) -> torch.Tensor:
    """The fifth bits of 32 weights, in 4 bytes: ``[n, 4]`` to ``[n, 32]``."""
    import torch

    shifts = torch.arange(8, device=packed.device, dtype=torch.uint8)
    return ((packed.unsqueeze(-1) >> shifts) & 1).reshape(packed.shape[0], 32)


def _q8_0(blocks: torch.Tensor) -> torch.Tensor:
    import torch

    return _halves(blocks, 0) * blocks[:, 2:].contiguous().view(torch.int8)


def _q4_0(blocks: torch.Tensor) -> torch.Tensor:
    numbers = _parts(blocks[:, 2:], 1, 16, 4).flatten(1)
    return _halves(blocks, 0) * (numbers.float() - 8)


def _q4_1(blocks: torch.Tensor) -> torch.Tensor:
    numbers = _parts(blocks[:, 4:], 1, 16, 4).flatten(1)
    return _halves(blocks, 0) * numbers + _halves(blocks, 2)


def _q5_0(blocks: torch.Tensor) -> torch.Tensor:
    numbers = _parts(blocks[:, 6:], 1, 16, 4).flatten(1) | (_signs(blocks[:, 2:6]) << 4)
    return _halves(blocks, 0) * (numbers.float() - 16)


def _q5_1(blocks: torch.Tensor) -> torch.Tensor:
    numbers = _parts(blocks[:, 8:], 1, 16, 4).flatten(1) | (_signs(blocks[:, 4:8]) << 4)
    return _halves(blocks, 0) * numbers + _halves(blocks, 2)


def _k_scales(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight 6-bit scales and eight 6-bit minima of 12 bytes: fp32 ``[n, 8, 1]`` each."""
    import torch

    low, high, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = torch.cat([low & 63, (rest & 15) | ((low >> 2) & 48)], 1)
    minima = torch.cat([high & 63, (rest >> 4) | ((high >> 2) & 48)], 1)
    return scales.float().unsqueeze(-1), minima.float().unsqueeze(-1)


def _k_widen(blocks: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    scales, minima = _k_scales(blocks[:, 4:16])
    scales, minima = scales * _halves(blocks, 0)[..., None], minima * _halves(blocks, 2)[..., None]
    return (scales * numbers - minima).flatten(1)


def _q4_k(blocks: torch.Tensor) -> torch.Tensor:
    return _k_widen(blocks, _parts(blocks[:, 16:], 4, 32, 4))


def _q5_k(blocks: torch.Tensor) -> torch.Tensor:
    fifth = _parts(blocks[:, 16:48], 1, 32, 1)
    return _k_widen(blocks, _parts(blocks[:, 48:], 4, 32, 4) | (fifth << 4))


def _q6_k(blocks: torch.Tensor) -> torch.Tensor:
    import torch

    low = _parts(blocks[:, :128], 2, 64, 4).reshape(-1, 8, 32)
    high = _parts(blocks[:, 128:192], 2, 32, 2)
    numbers = (low | (high << 4)).float().reshape(-1, 16, 16) - 32
    scales = blocks[:, 192:208].contiguous().view(torch.int8).float().unsqueeze(-1)
    return (_halves(blocks, 208)[..., None] * scales * numbers).flatten(1)


BLOCK_TYPES = {
    "Q8_0": BlockType(32, 34, _q8_0),
    "Q4_0": BlockType(32, 18, _q4_0),
    "Q4_1": BlockType(32, 20, _q4_1),
    "Q5_0": BlockType(32, 22, _q5_0),
    "Q5_1": BlockType(32, 24, _q5_1),
    "Q4_K": BlockType(256, 144, _q4_k),
    "Q5_K": BlockType(256, 176, _q5_k),
    "Q6_K": BlockType(256, 210, _q6_k),
    "Q2_K": BlockType(256, 84, few.q2_k),
    "Q3_K": BlockType(256, 110, few.q3_k),
    "TQ1_0": BlockType(256, 54, few.tq1_0),
    "TQ2_0": BlockType(256, 66, few.tq2_0),
    "IQ2_XXS": BlockType(256, 66, few.iq2_xxs),
    "IQ2_XS": BlockType(256, 74, few.iq2_xs),
    "IQ2_S": BlockType(256, 82, few.iq2_s),
    "IQ3_XXS": BlockType(256, 98, few.iq3_xxs),
    "IQ3_S": BlockType(256, 110, few.iq3_s),
    "IQ1_S": BlockType(256, 50, few.iq1_s),
    "IQ1_M": BlockType(256, 56, few.iq1_m),
    "IQ4_NL": BlockType(32, 18, few.iq4_nl),
    "IQ4_XS": BlockType(256, 136, few.iq4_xs),
}
"""By the names of GGUF."""
