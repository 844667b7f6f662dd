"""Products of activations with fp8 weights on fp8 tensor cores, by torch's own matrix kernels.

Two scalings of the activations exist. One scale for all is what a calibration stores; without one,
finding the largest magnitude takes a pass of its own. A scale per row is found and applied in one
pass, and outliers of one token do not coarsen the others; its matrix kernel wants bf16.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from .formats.fp8 import E4M3_MAX, scale_of
from .scales import granularity, multiply

if TYPE_CHECKING:
    import torch

ALIGNMENT = 16
"""Rows and columns of an fp8 product are multiples of this (torch's ``_scaled_mm``)."""

KERNELS_FROM = (8, 9)
"""The least compute capability for which triton converts to E4M3 and back."""

SCALES_ROWS = 9
"""The major compute capability whose matrix kernel takes a scale per row. torch has none in its
builds for Windows, and users of 12.0 report that the one chosen there fails (torch 2.10)."""


def fp8_linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    weight_scale: torch.Tensor,
    input_scale: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """``x @ weight.T + bias`` with both factors in E4M3 and the sum in fp32.

    Args:
        x: ``[..., in]``, float.
        weight: ``[out, in]``, float8_e4m3fn; both multiples of :data:`ALIGNMENT`.
        weight_scale: fp32, one element, or one per row where :func:`why_not_scaled` allows.
        input_scale: fp32, one element, of a calibration; ``None`` scales by ``x`` itself.
        bias: ``[out]`` in ``x``'s dtype, or ``None``.

    Returns:
        ``[..., out]`` in ``x``'s dtype.
    """
    import torch

    rows = x.reshape(-1, x.shape[-1])
    if _can_scale_rows(x) and (input_scale is None or weight_scale.numel() > 1):
        if input_scale is None:
            quantized, input_scale = quantize_rows(rows)
        else:
            quantized = quantize(rows, input_scale)
            input_scale = input_scale.reshape(1, 1).expand(len(rows), 1).contiguous()
        weight_scale = weight_scale.reshape(1, -1).expand(1, weight.shape[0]).contiguous()
    else:
        if input_scale is None:
            input_scale = scale_of(
                torch.linalg.vector_norm(rows, float("inf"), dtype=torch.float32)
            )
        quantized = quantize(rows, input_scale)
    fused_bias = None if x.dtype == torch.float32 else bias  # CUDA's kernel adds none to fp32
    product = torch._scaled_mm(
        quantized,
        weight.t(),
        scale_a=input_scale,
        scale_b=weight_scale,
        bias=fused_bias,
        out_dtype=x.dtype,
        use_fast_accum=True,
    )
    if bias is not None and fused_bias is None:
        product += bias
    return product.reshape(*x.shape[:-1], weight.shape[0])


def quantize(rows: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """``rows / scale`` rounded to E4M3; values beyond its range become its ends."""
    import torch

    if has_kernels(rows):
        from .fp8_kernels import quantize_by

        return quantize_by(rows, scale)
    scaled = (rows.to(torch.float32) / scale).clamp(-E4M3_MAX, E4M3_MAX)
    return scaled.to(torch.float8_e4m3fn)


def quantize_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``rows [n, k]`` rounded to E4M3 with a scale per row, fp32 ``[n, 1]``."""
    import torch

    if has_kernels(rows):
        from .fp8_kernels import quantize_by_row

        return quantize_by_row(rows)
    wide = rows.to(torch.float32)
    scale = scale_of(wide.abs().amax(1, keepdim=True))
    return (wide / scale).to(torch.float8_e4m3fn), scale


def why_not_scaled(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> str:
    """Why a weight with such scales is widened before its product with ``x``; empty if not."""
    if scale.numel() == 1:
        return ""
    if scale.numel() != weight.shape[0]:
        return "its scales are those of blocks, which the weights are multiplied by first"
    return "" if _can_scale_rows(x) else "no kernel here takes a scale per row of the weights"


def _can_scale_rows(x: torch.Tensor) -> bool:
    import torch

    return x.is_cuda and x.dtype == torch.bfloat16 and _has_row_scales(x.device)


@cache
def _has_row_scales(device: torch.device) -> bool:
    import torch

    if torch.version.hip is not None or os.name == "nt":
        return False
    return torch.cuda.get_device_capability(device)[0] == SCALES_ROWS


def widen_fp8(weight: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``weight * scale`` in ``dtype``; ``weight`` is float8_e4m3fn, ``scale`` as files have it."""
    found = granularity(weight.shape, scale.shape)
    if has_kernels(weight) and found is not None and (scale.numel() == 1 or found[0] == 1):
        from .fp8_kernels import widen_by

        return widen_by(weight, scale.to(weight.device), dtype)
    return multiply(weight, scale, dtype)


def has_kernels(x: torch.Tensor) -> bool:
    """Whether :mod:`.fp8_kernels` runs where ``x`` is.

    Under torch.compile plain torch is better: it is fused with what comes before.
    """
    import torch

    return x.is_cuda and not torch.compiler.is_compiling() and _compiles_kernels(x.device)


@cache
def _compiles_kernels(device: torch.device) -> bool:
    import torch

    if torch.version.hip is not None or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= KERNELS_FROM
