"""Floats with a scale per block of a row, which Blackwell multiplies: ComfyUI's mxfp8 and nvfp4.

``mxfp8``: E4M3 with a power of two for 32 weights (OCP Microscaling Formats 1.0). ``nvfp4``: E2M1,
two to a byte, with an E4M3 scale for 16 weights and one fp32 scale for all (NVIDIA). comfy-kitchen
makes and reads both, with the scales in the order that NVIDIA's matrix kernels want. ComfyUI's own
layers compute with them: natively from compute capability 10.0 on, elsewhere widened.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from ...offer import Machine
from ..base import WIDE, Execution, Format, Hardware, Package, Tensors, TensorSpec, largest
from ..blocks import BLOCK_ELEMENTS

if TYPE_CHECKING:
    import torch

ROWS = 128
"""Scales lie in tiles of so many rows; rows are quantized in multiples of them."""

BLACKWELL = Hardware((10, 0))

KITCHEN = Package("comfy_kitchen", "pip install comfy-kitchen (ComfyUI's requirements have it)")


@dataclass(frozen=True)
class BlockScaled(Format):
    """``block`` weights of a row share a scale; rows and columns are multiples of ``multiple``."""

    block: int = 32
    multiple: int = 32

    def supports(self, shape: tuple[int, ...]) -> str:
        reason = super().supports(shape)
        if not reason and (shape[0] % self.multiple or shape[1] % self.multiple):
            reason = f"rows and columns must be multiples of {self.multiple}"
        return reason

    def _scale_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        return ceil(shape[0] / ROWS) * ROWS, ceil(shape[1] // self.block / 4) * 4

    def execution(self, machine: Machine) -> Execution:
        """Where no units are made for it ComfyUI widens the weights, and leaves activations."""
        execution = super().execution(machine)
        if execution.kind == "emulated":
            return Execution("dequantized", WIDE, execution.reason)
        return execution

    def _in_rows(self, weight: torch.Tensor) -> list[torch.Tensor]:
        """Parts of whole tiles, with about :data:`BLOCK_ELEMENTS` numbers each."""
        tiles = max(1, BLOCK_ELEMENTS // max(1, weight.shape[1] * ROWS))
        return list(weight.split(tiles * ROWS))


@dataclass(frozen=True)
class Mxfp8(BlockScaled):
    """E4M3 weights ``[out, in]`` with E8M0 scales."""

    def stored_spec(self, shape: tuple[int, ...]) -> dict[str, TensorSpec]:
        import torch

        return {
            "weight": TensorSpec(shape, torch.float8_e4m3fn),
            "weight_scale": TensorSpec(self._scale_shape(shape), torch.float8_e8m0fnu),
        }

    def _quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        import torch
        from comfy_kitchen import quantize_mxfp8

        largest(weight)
        made = [quantize_mxfp8(_wide(part)) for part in self._in_rows(weight)]
        data, scales = zip(*made, strict=True)
        scale = torch.cat([part.view(torch.uint8) for part in scales])
        return {
            "weight": torch.cat([part.view(torch.uint8) for part in data]).view(
                torch.float8_e4m3fn
            ),
            "weight_scale": scale.view(torch.float8_e8m0fnu),
        }

    def dequantize(self, stored: Tensors, dtype: torch.dtype) -> torch.Tensor:
        import torch
        from comfy_kitchen import dequantize_mxfp8

        scale = stored["weight_scale"].view(torch.float8_e8m0fnu)
        return dequantize_mxfp8(stored["weight"], scale, dtype)


@dataclass(frozen=True)
class Nvfp4(BlockScaled):
    """E2M1 weights, two to a byte ``[out, in / 2]``, with E4M3 scales and one for all."""

    def stored_spec(self, shape: tuple[int, ...]) -> dict[str, TensorSpec]:
        import torch

        return {
            "weight": TensorSpec((shape[0], shape[1] // 2), torch.uint8),
            "weight_scale": TensorSpec(self._scale_shape(shape), torch.float8_e4m3fn),
            "weight_scale_2": TensorSpec((), torch.float32),
        }

    def shape(self, stored: Tensors) -> tuple[int, ...]:
        rows, packed = stored["weight"].shape
        return rows, 2 * packed

    def _quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        import torch
        from comfy_kitchen import quantize_nvfp4

        amax = largest(weight)
        whole = torch.where(amax > 0, amax / (448.0 * 6.0), torch.ones_like(amax))
        made = [quantize_nvfp4(_wide(part), whole) for part in self._in_rows(weight)]
        data, scales = zip(*made, strict=True)
        scale = torch.cat([part.view(torch.uint8) for part in scales])
        return {
            "weight": torch.cat(data),
            "weight_scale": scale.view(torch.float8_e4m3fn),
            "weight_scale_2": whole,
        }

    def dequantize(self, stored: Tensors, dtype: torch.dtype) -> torch.Tensor:
        import torch
        from comfy_kitchen import dequantize_nvfp4

        scale = stored["weight_scale"].view(torch.float8_e4m3fn)
        return dequantize_nvfp4(stored["weight"], stored["weight_scale_2"], scale, dtype)


def _wide(weight: torch.Tensor) -> torch.Tensor:
    """Kitchen's kernels take floats of 16 and 32 bits."""
    import torch

    return weight.to(torch.bfloat16) if weight.dtype.itemsize == 1 else weight.contiguous()


def _format(kind: type[BlockScaled], name: str, description: str, **sizes: Any) -> BlockScaled:
    return kind(
        name,
        description,
        f"{name} tensor cores",
        name,
        BLACKWELL,
        weight_only="fp8_w",
        package=KITCHEN,
        **sizes,
    )


MXFP8 = _format(Mxfp8, "mxfp8", "8-bit float, a power of two for 32 weights")
NVFP4 = _format(Nvfp4, "nvfp4", "4-bit float, an 8-bit scale for 16 weights", block=16, multiple=16)
