"""The baselines: 16-bit floats, as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...offer import Machine
from ..base import Execution, Format, Hardware, Tensors, TensorSpec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Plain(Format):
    """Weights in a float dtype of torch."""

    dtype_name: str = ""

    @property
    def is_quantized(self) -> bool:
        return False

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return {"bfloat16": torch.bfloat16, "float16": torch.float16}[self.dtype_name]

    def stored_spec(self, shape: tuple[int, ...]) -> dict[str, TensorSpec]:
        return {"weight": TensorSpec(shape, self.dtype)}

    def supports(self, shape: tuple[int, ...]) -> str:
        return ""

    def _quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"weight": weight.to(self.dtype)}

    def dequantize(self, stored: Tensors, dtype: torch.dtype) -> torch.Tensor:
        return stored["weight"].to(dtype)

    def execution(self, machine: Machine) -> Execution:
        if self.hardware is not None and self.hardware.has(machine):
            return Execution("native", self.arithmetic)
        device = machine.name or machine.kind
        return Execution("emulated", "32-bit", f"{device} has no {self.arithmetic}")


BF16 = Plain(
    "bf16",
    "bfloat16",
    "bf16 tensor cores",
    hardware=Hardware((8, 0), gfx=("gfx90a", "gfx94", "gfx95", "gfx11", "gfx12")),
    weight_only="bf16",
    dtype_name="bfloat16",
)
FP16 = Plain(
    "fp16",
    "16-bit float",
    "fp16 arithmetic",
    hardware=Hardware((5, 3), gfx=("gfx",)),
    weight_only="fp16",
    dtype_name="float16",
)
