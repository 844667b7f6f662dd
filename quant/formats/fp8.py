"""8-bit floats (E4M3) with one scale per matrix, in ComfyUI's layout ``float8_e4m3fn``.

The three formats store the same weights and differ in the arithmetic of the product: ``fp8_w``
widens the weights, ``fp8`` scales the activations by their largest magnitude at run time,
``fp8_static`` by a scale that a calibration stored (``input_scale``). Range and encoding of E4M3:
Micikevicius et al., FP8 Formats for Deep Learning, arXiv 2209.05433, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...offer import Machine
from ..base import WIDE, Execution, Format, Hardware, Tensors, TensorSpec, largest
from ..blocks import divide_and_round
from ..scales import multiply

if TYPE_CHECKING:
    import torch

E4M3_MAX = 448.0
"""The largest finite number of E4M3 in the variant ``fn``, which has no infinities."""

TENSOR_CORES = Hardware((8, 9), gfx=("gfx95", "gfx12"))
"""Not gfx94: its units compute with another encoding, E4M3 FNUZ (hipBLASLt, data type support)."""


@dataclass(frozen=True)
class Fp8(Format):
    """E4M3 weights with a scale; ``activation`` is ``""``, ``dynamic`` or ``static``."""

    activation: str = ""

    def config(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """ComfyUI reads ``full_precision_matrix_mult`` and passes over ``activation_scale``."""
        config: dict[str, Any] = {"format": "float8_e4m3fn"}
        if self.activation:
            config["activation_scale"] = self.activation
        else:
            config["full_precision_matrix_mult"] = True
        return config

    def reads(self, config: Mapping[str, Any], has_input_scale: bool) -> Format | None:
        """A file that says nothing of activations is ``fp8``, or ``fp8_static`` with a scale."""
        if config["format"] != self.stock:
            return None
        if config.get("full_precision_matrix_mult"):
            return None if self.activation else self
        is_static = config.get("activation_scale") == "static"
        if "activation_scale" not in config:
            is_static = has_input_scale
        return self if self.activation == ("static" if is_static else "dynamic") else None

    def stored_spec(self, shape: tuple[int, ...]) -> dict[str, TensorSpec]:
        import torch

        return {
            "weight": TensorSpec(shape, torch.float8_e4m3fn),
            "weight_scale": TensorSpec((), torch.float32),
        }

    def _quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        import torch

        amax = largest(weight)
        if weight.dtype == torch.float8_e4m3fn:
            return {"weight": weight, "weight_scale": torch.ones_like(amax)}
        scale = scale_of(amax)
        qdata = divide_and_round(weight, scale, E4M3_MAX, torch.float8_e4m3fn)
        return {"weight": qdata, "weight_scale": scale}

    def dequantize(self, stored: Tensors, dtype: torch.dtype) -> torch.Tensor:
        """With one scale as ComfyUI does: both factors in ``dtype``, then their product.

        Files of others have scales per row, per part of a row, or per block (:mod:`..scales`).
        """
        return multiply(stored["weight"], stored["weight_scale"], dtype)

    def execution(self, machine: Machine) -> Execution:
        """Without fp8 units rounding the activations would cost time and exactness for nothing."""
        execution = super().execution(machine)
        if execution.kind == "emulated":
            return Execution("dequantized", WIDE, execution.reason)
        return execution


def scale_of(amax: torch.Tensor) -> torch.Tensor:
    """The scale that brings a largest magnitude to the end of E4M3's range; 1 for zeros."""
    import torch

    return torch.where(amax > 0, amax / E4M3_MAX, torch.ones_like(amax))


FP8_W = Fp8(
    "fp8_w",
    "8-bit float weights",
    "dequantized",
    "float8_e4m3fn",
    weight_only="fp8_w",
    stock_layout=True,
)
FP8 = Fp8(
    "fp8",
    "8-bit float, activations scaled at run time",
    "fp8 tensor cores",
    "float8_e4m3fn",
    TENSOR_CORES,
    weight_only="fp8_w",
    stock_layout=True,
    activation="dynamic",
)
FP8_STATIC = Fp8(
    "fp8_static",
    "8-bit float, activations scaled as calibrated",
    "fp8 tensor cores",
    "float8_e4m3fn",
    TENSOR_CORES,
    weight_only="fp8_w",
    needs_input_scale=True,
    stock_layout=True,
    activation="static",
)
