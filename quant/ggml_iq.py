"""GGUF's block formats of few bits: Q2_K, Q3_K, ternary, and the IQ types, which look up in grids.

The grids and tables of signs are the package gguf's, which reads the files anyway.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def _half(raw: torch.Tensor) -> torch.Tensor:
    """Two bytes of each block as fp16: fp32 ``[n, 1]``."""
    import torch

    return raw.contiguous().view(torch.float16).to(torch.float32)


def _words(raw: torch.Tensor, width: int) -> torch.Tensor:
    """Little-endian words of ``width`` bytes: int64 ``[n, bytes / width]``."""
    import torch

    parts = raw.reshape(len(raw), -1, width).to(torch.int64)
    return sum((parts[..., i] << (8 * i) for i in range(1, width)), parts[..., 0])


def _fields(packed: torch.Tensor, shifts: list[int], mask: int) -> torch.Tensor:
    """The fields of each number: ``[…]`` to ``[…, shifts]``."""
    import torch

    at = torch.tensor(shifts, device=packed.device, dtype=packed.dtype)
    return (packed.unsqueeze(-1) >> at) & mask


def _rows(packed: torch.Tensor, width: int, bits: int) -> torch.Tensor:
    """Fields of ``bits`` bits, the lowest of each ``width`` bytes first: ``[n, fields]``."""
    import torch

    shifts = torch.arange(0, 8, bits, device=packed.device, dtype=torch.uint8).reshape(-1, 1)
    fields = (packed.reshape(len(packed), -1, 1, width) >> shifts) & (2**bits - 1)
    return fields.reshape(len(packed), -1)


@cache
def _grid(name: str, device: torch.device) -> torch.Tensor:
    """The grid of a type: fp32 ``[points, numbers]``."""
    import torch
    from gguf import quants

    kind = getattr(quants, name)
    kind.init_grid()
    return torch.from_numpy(kind.grid.copy()).float().reshape(kind.grid_shape).to(device)


@cache
def _signs(device: torch.device) -> torch.Tensor:
    """The eight signs that seven bits stand for, an even number of them negative: ``[128, 8]``."""
    import torch
    from gguf import quants

    bits = torch.tensor(list(quants.IQ2_XXS.ksigns), device=device)
    return 1.0 - 2.0 * _fields(bits, list(range(8)), 1)


def _bits_as_signs(raw: torch.Tensor) -> torch.Tensor:
    """A sign per bit: ``[n, bytes]`` to ``[n, bytes, 8]``."""
    return 1.0 - 2.0 * _fields(raw, list(range(8)), 1).float()


def q2_k(blocks: torch.Tensor) -> torch.Tensor:
    scales, numbers = blocks[:, :16], _rows(blocks[:, 16:80], 32, 2)
    d, least = _half(blocks[:, 80:82]), _half(blocks[:, 82:84])
    low, high = (d * (scales & 15)).unsqueeze(-1), (least * (scales >> 4)).unsqueeze(-1)
    return (low * numbers.reshape(-1, 16, 16) - high).flatten(1)


def q3_k(blocks: torch.Tensor) -> torch.Tensor:
    low, packed = _rows(blocks[:, 32:96], 32, 2), blocks[:, 96:108]
    high = 1 - _rows(blocks[:, :32], 32, 1).float()
    scales = _rows(packed[:, :8], 8, 4) | (_rows(packed[:, 8:], 4, 2) << 4)
    d = _half(blocks[:, 108:110]) * (scales.float() - 32)
    return (d.unsqueeze(-1) * (low - 4 * high).reshape(-1, 16, 16)).flatten(1)


def tq1_0(blocks: torch.Tensor) -> torch.Tensor:
    import torch

    parts = []
    for raw, width, count in ((blocks[:, :32], 32, 5), (blocks[:, 32:48], 16, 5)):
        parts.append((raw.reshape(-1, 1, width), count))
    parts.append((blocks[:, 48:52].reshape(-1, 1, 4), 4))
    digits = []
    for raw, count in parts:
        powers = torch.tensor([3**i for i in range(count)], device=raw.device).reshape(-1, 1)
        digits.append(((raw * powers) % 256).flatten(1))
    numbers = (torch.cat(digits, 1) * 3) >> 8
    return _half(blocks[:, 52:54]) * (numbers.float() - 1)


def tq2_0(blocks: torch.Tensor) -> torch.Tensor:
    return _half(blocks[:, 64:66]) * (_rows(blocks[:, :64], 32, 2).float() - 1)


IQ4_VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def _iq4_numbers(packed: torch.Tensor) -> torch.Tensor:
    import torch

    values = torch.tensor(IQ4_VALUES, device=packed.device, dtype=torch.float32)
    return values[_rows(packed, 16, 4).long()]


def iq4_nl(blocks: torch.Tensor) -> torch.Tensor:
    return _half(blocks[:, :2]) * _iq4_numbers(blocks[:, 2:])


def iq4_xs(blocks: torch.Tensor) -> torch.Tensor:
    low = _fields(blocks[:, 4:8], [0, 4], 15).flatten(1)
    high = _fields(_words(blocks[:, 2:4], 2), list(range(0, 16, 2)), 3).flatten(1)
    scales = (low + (high << 4)).float() - 32
    d = (_half(blocks[:, :2]) * scales).unsqueeze(-1)
    return (d * _iq4_numbers(blocks[:, 8:]).reshape(-1, 8, 32)).flatten(1)


def iq2_xxs(blocks: torch.Tensor) -> torch.Tensor:
    raw = blocks[:, 2:].reshape(len(blocks), 8, 8)
    upper = _words(raw[..., 4:].reshape(-1, 4), 4).reshape(len(blocks), 8)
    d = _half(blocks[:, :2]) * (0.5 + (upper >> 28).float()) * 0.25
    signs = _signs(blocks.device)[_fields(upper, [0, 7, 14, 21], 127)]
    points = _grid("IQ2_XXS", blocks.device)[raw[..., :4].long()]
    return (d[..., None, None] * points * signs).flatten(1)


def iq2_xs(blocks: torch.Tensor) -> torch.Tensor:
    words = _words(blocks[:, 2:66], 2)
    scales = _fields(blocks[:, 66:], [0, 4], 15).flatten(1)
    d = _half(blocks[:, :2]) * (0.5 + scales.float()) * 0.25
    signs = _signs(blocks.device)[words >> 9]
    points = _grid("IQ2_XS", blocks.device)[words & 511]
    return (d.unsqueeze(-1) * (points * signs).reshape(len(blocks), 16, 16)).flatten(1)


def iq2_s(blocks: torch.Tensor) -> torch.Tensor:
    high = _fields(blocks[:, 66:74], [0, 2, 4, 6], 3).flatten(1).long()
    scales = _fields(blocks[:, 74:], [0, 4], 15).flatten(1)
    d = _half(blocks[:, :2]) * (0.5 + scales.float()) * 0.25
    points = _grid("IQ2_S", blocks.device)[blocks[:, 2:34].long() | (high << 8)]
    numbers = points * _bits_as_signs(blocks[:, 34:66])
    return (d.unsqueeze(-1) * numbers.reshape(len(blocks), 16, 16)).flatten(1)


def iq3_xxs(blocks: torch.Tensor) -> torch.Tensor:
    upper = _words(blocks[:, 66:], 4)
    d = _half(blocks[:, :2]) * (0.5 + (upper >> 28).float()) * 0.5
    signs = _signs(blocks.device)[_fields(upper, [0, 7, 14, 21], 127)].flatten(2)
    points = _grid("IQ3_XXS", blocks.device)[blocks[:, 2:66].long()].reshape(len(blocks), 8, 32)
    return (d.unsqueeze(-1) * points * signs).flatten(1)


def iq3_s(blocks: torch.Tensor) -> torch.Tensor:
    high = _fields(blocks[:, 66:74], list(range(8)), 1).flatten(1).long()
    scales = _fields(blocks[:, 106:], [0, 4], 15).flatten(1)
    d = _half(blocks[:, :2]) * (1 + 2 * scales.float())
    points = _grid("IQ3_S", blocks.device)[blocks[:, 2:66].long() | (high << 8)]
    signs = _bits_as_signs(blocks[:, 74:106]).reshape(len(blocks), 8, 32)
    return (d.unsqueeze(-1) * points.reshape(len(blocks), 8, 32) * signs).flatten(1)


DELTA = 0.125


def iq1_s(blocks: torch.Tensor) -> torch.Tensor:
    words = _words(blocks[:, 34:], 2)
    d = _half(blocks[:, :2]) * (2 * ((words >> 12) & 7) + 1)
    delta = DELTA - 2 * DELTA * (words >> 15).float()
    high = _fields(words, [0, 3, 6, 9], 7).flatten(1)
    points = _grid("IQ1_S", blocks.device)[blocks[:, 2:34].long() | (high << 8)]
    numbers = points.reshape(len(blocks), 8, 32) + delta.unsqueeze(-1)
    return (d.unsqueeze(-1) * numbers).flatten(1)


def iq1_m(blocks: torch.Tensor) -> torch.Tensor:
    import torch

    words = _words(blocks[:, 48:], 2)
    parts = words >> 12
    bits = parts[:, 0] | (parts[:, 1] << 4) | (parts[:, 2] << 8) | (parts[:, 3] << 12)
    raw = torch.stack([bits & 255, bits >> 8], 1).to(torch.uint8)
    scales = _fields(words, [0, 3, 6, 9], 7).flatten(1)
    d = _half(raw) * (2 * scales + 1)
    high = _fields(blocks[:, 32:48], [0, 4], 15).flatten(1).long()
    points = _grid("IQ1_M", blocks.device)[blocks[:, :32].long() | ((high & 7) << 8)]
    numbers = points + (DELTA - 2 * DELTA * (high >> 3).float()).unsqueeze(-1)
    return (d.unsqueeze(-1) * numbers.reshape(len(blocks), 16, 16)).flatten(1)
