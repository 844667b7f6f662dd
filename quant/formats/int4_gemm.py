"""Symmetric int4 weights and activations, rotated first: ComfyUI's ``convrot_w4a4``.

Groups of columns are multiplied with a Hadamard matrix, which spreads outliers, before weights and
activations are rounded; comfy-kitchen does both. It has int4 kernels for compute capabilities 7.5
and 8.x and for RDNA 3 and 4. From 9.0 it rounds activations to 8 bits and multiplies with int8
units; elsewhere it rounds both to 4 bits and multiplies floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...offer import Machine
from ..base import CONFIG, Execution, Format, Hardware, Package, Tensors, TensorSpec, decode_config
from ..base import largest as check_range
from ..blocks import in_blocks

if TYPE_CHECKING:
    import torch

ROTATIONS = (256, 64)
"""Sizes of the Hadamard matrix, powers of 4, best first; comfy-kitchen packs columns by 64."""

INT4_UNITS = Hardware((7, 5), below=(9, 0), gfx=("gfx11", "gfx12"), tensor_cores=True)
INT8_UNITS = Hardware((9, 0))


@dataclass(frozen=True)
class ConvRotW4A4(Format):
    """Two weights to a byte ``[out, in / 2]``, a scale per row ``[out]``."""

    def config(self, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"format": "convrot_w4a4", "convrot_groupsize": rotation(shape)}

    def reads(self, config: Mapping[str, Any], has_input_scale: bool) -> Format | None:
        return self if config["format"] == self.stock else None

    def stored_spec(self, shape: tuple[int, ...]) -> dict[str, TensorSpec]:
        import torch

        return {
            "weight": TensorSpec((shape[0], shape[1] // 2), torch.int8),
            "weight_scale": TensorSpec((shape[0],), torch.float32),
        }

    def shape(self, stored: Tensors) -> tuple[int, ...]:
        rows, packed = stored["weight"].shape
        return rows, 2 * packed

    def supports(self, shape: tuple[int, ...]) -> str:
        reason = super().supports(shape)
        if not reason and rotation(shape) == 0:
            reason = f"{shape[1]} columns are no multiple of {ROTATIONS[-1]}"
        return reason

    def _quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """Some rows at a time, of which comfy-kitchen takes eight times the memory."""
        import torch
        from comfy_kitchen.tensor.convrot_w4a4 import quantize_convrot_w4a4_weight

        group = rotation(tuple(weight.shape))
        stored = {
            suffix: torch.empty(shape, dtype=dtype, device=weight.device)
            for suffix, (shape, dtype) in self.stored_spec(tuple(weight.shape)).items()
        }
        for rows, qdata, scale in in_blocks(weight, *stored.values()):
            check_range(rows)
            made, made_scale = quantize_convrot_w4a4_weight(rows.to(torch.float32), group)
            qdata.copy_(made)
            scale.copy_(made_scale)
        return stored

    def dequantize(self, stored: Tensors, dtype: torch.dtype) -> torch.Tensor:
        from comfy_kitchen.tensor.convrot_w4a4 import dequantize_convrot_w4a4_weight

        group = int(decode_config(stored[CONFIG])["convrot_groupsize"])
        return dequantize_convrot_w4a4_weight(
            stored["weight"], stored["weight_scale"], group, output_dtype=dtype
        )

    def execution(self, machine: Machine) -> Execution:
        if INT8_UNITS.has(machine):
            device = machine.name or machine.kind
            return Execution("emulated", "int8 tensor cores", f"{device} has no {self.arithmetic}")
        return super().execution(machine)


def rotation(shape: tuple[int, ...]) -> int:
    """The largest rotation that fits the columns of ``shape``; 0 if none does."""
    return next((size for size in ROTATIONS if shape[1] % size == 0), 0)


INT4_GEMM = ConvRotW4A4(
    "int4_gemm",
    "4-bit integer weights and activations, rotated; modulation at 8 bits",
    "int4 tensor cores",
    "convrot_w4a4",
    INT4_UNITS,
    weight_only="fp8_w",
    stock_layout=True,
    package=Package("comfy_kitchen", "pip install comfy-kitchen (ComfyUI's requirements have it)"),
)
