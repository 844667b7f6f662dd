"""8-bit integers with a scale per row, in ComfyUI's layout ``int8_tensorwise``.

``int8`` widens the weights; ``int8_w8a8`` quantizes each row of the activations at run time and
multiplies integers. Both store the same numbers; ComfyUI's layout computes W8A8 with either, so
that ``int8`` does not take it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...offer import Machine
from ..base import WIDE, Execution, Format, Hardware, Tensors, TensorSpec, largest
from ..blocks import divide_and_round

if TYPE_CHECKING:
    import torch

INT8_MAX = 127.0

TENSOR_CORES = Hardware(
    (7, 5), gfx=("gfx908", "gfx90a", "gfx94", "gfx95", "gfx11", "gfx12"), tensor_cores=True
)


@dataclass(frozen=True)
class Int8(Format):
    """Symmetric int8 weights ``[out, in]`` with scales ``[out, 1]``."""

    is_weight_only: bool = False

    def config(self, shape: tuple[int, ...]) -> dict[str, Any]:
        config: dict[str, Any] = {"format": "int8_tensorwise"}
        if self.is_weight_only:
            config["full_precision_matrix_mult"] = True
        return config

    def reads(self, config: Mapping[str, Any], has_input_scale: bool) -> Format | None:
        """Weights that ComfyUI has rotated are multiplied as integers, whatever else is said."""
        if config["format"] != self.stock:
            return None
        is_widened = config.get("full_precision_matrix_mult") and not config.get("convrot")
        return self if self.is_weight_only == bool(is_widened) else None

    def stored_spec(self, shape: tuple[int, ...]) -> dict[str, TensorSpec]:
        import torch

        return {
            "weight": TensorSpec(shape, torch.int8),
            "weight_scale": TensorSpec((shape[0], 1), torch.float32),
        }

    def supports(self, shape: tuple[int, ...]) -> str:
        reason = super().supports(shape)
        if not reason and not self.is_weight_only and (shape[0] % 8 or shape[1] % 8):
            reason = "int8 products need rows and columns in multiples of 8"
        return reason

    def _quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        import torch

        scale = (largest(weight, 1) / INT8_MAX).clamp_(min=1e-30)
        qdata = divide_and_round(weight, scale, INT8_MAX, torch.int8)
        return {"weight": qdata, "weight_scale": scale}

    def dequantize(self, stored: Tensors, dtype: torch.dtype) -> torch.Tensor:
        import torch

        scale = stored["weight_scale"]
        if dtype == torch.float32:
            return stored["weight"].to(dtype) * scale
        return torch.mul(stored["weight"], scale).to(dtype)

    def execution(self, machine: Machine) -> Execution:
        """torch multiplies integers on such units and on a CPU; other devices widen the weights."""
        execution = super().execution(machine)
        if execution.kind == "emulated" and machine.kind != "cpu":
            return Execution("dequantized", WIDE, execution.reason)
        return execution


INT8 = Int8(
    "int8",
    "8-bit integer weights",
    "dequantized",
    "int8_tensorwise",
    weight_only="int8",
    is_weight_only=True,
)
INT8_W8A8 = Int8(
    "int8_w8a8",
    "8-bit integer weights and activations",
    "int8 tensor cores",
    "int8_tensorwise",
    TENSOR_CORES,
    weight_only="fp8_w",
    stock_layout=True,
)
