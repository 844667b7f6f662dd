"""4-bit weights from a table of 16 values, activations in 8 bits: ComfyUI's ``asym_w4a8_int8``.

Groups of columns are rotated first, as in :mod:`.int4_gemm`; 16 weights share an 8-bit scale and a
row a 32-bit one. ComfyUI has it from 0.38 on, with comfy-kitchen 0.2.40, which makes and reads it;
files of 6 bits differ in the length of their rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..base import CONFIG, Format, Hardware, Package, Tensors, TensorSpec, decode_config, largest

if TYPE_CHECKING:
    import torch

GROUP = 16
ROTATION = 256


@dataclass(frozen=True)
class NewerKitchen(Package):
    """comfy-kitchen in a version that has a function."""

    function: str = ""

    @property
    def is_installed(self) -> bool:
        if not super().is_installed:
            return False
        import comfy_kitchen

        return hasattr(comfy_kitchen, self.function)


@dataclass(frozen=True)
class W4A8(Format):
    """Two weights to a byte ``[out, in / 2]``, scales ``[out, in / 16]`` and ``[out]``, a table."""

    def config(self, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"format": self.stock, "group_size": GROUP, "convrot_groupsize": ROTATION}

    def reads(self, config: Mapping[str, Any], has_input_scale: bool) -> Format | None:
        return self if config["format"] == self.stock else None

    def stored_spec(self, shape: tuple[int, ...]) -> dict[str, TensorSpec]:
        import torch

        return {
            "weight": TensorSpec((shape[0], shape[1] // 2), torch.int8),
            "weight_s_rel": TensorSpec((shape[0], shape[1] // GROUP), torch.float8_e4m3fn),
            "weight_s_channel": TensorSpec((shape[0],), torch.float32),
            "weight_codebook": TensorSpec((16,), torch.float32),
        }

    def shape(self, stored: Tensors) -> tuple[int, ...]:
        """Of :data:`GROUP` weights to a scale, whatever their bits."""
        rows, groups = stored["weight_s_rel"].shape
        return rows, GROUP * groups

    def supports(self, shape: tuple[int, ...]) -> str:
        reason = super().supports(shape)
        if not reason and shape[1] % ROTATION:
            reason = f"{shape[1]} columns are no multiple of {ROTATION}"
        return reason

    def _quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        import torch
        from comfy_kitchen import quantize_w4a8_int8_weight

        largest(weight)
        wide = weight.to(torch.bfloat16) if weight.dtype.itemsize == 1 else weight
        codes, relative, channel, _, table = quantize_w4a8_int8_weight(
            wide, group_size=GROUP, convrot_groupsize=ROTATION
        )
        return {
            "weight": codes,
            "weight_s_rel": relative,
            "weight_s_channel": channel,
            "weight_codebook": table,
        }

    def dequantize(self, stored: Tensors, dtype: torch.dtype) -> torch.Tensor:
        import torch
        from comfy_kitchen import dequantize_w4a8_int8_weight

        config = decode_config(stored[CONFIG])
        return dequantize_w4a8_int8_weight(
            stored["weight"],
            stored["weight_s_rel"].view(torch.float8_e4m3fn),
            stored["weight_s_channel"],
            stored.get("weight_codebook"),
            group_size=int(config.get("group_size", GROUP)),
            convrot_groupsize=int(config.get("convrot_groupsize", ROTATION)),
            output_dtype=dtype,
        )


W4A8_INT8 = W4A8(
    "w4a8",
    "4-bit weights from a table, 8-bit integer activations, rotated",
    "int8 tensor cores",
    "asym_w4a8_int8",
    Hardware((8, 0), gfx=("gfx11", "gfx12")),
    weight_only="fp8_w",
    package=NewerKitchen(
        "comfy_kitchen",
        "update ComfyUI (0.38 or later), whose requirements bring comfy-kitchen with W4A8",
        function="quantize_w4a8_int8_weight",
    ),
)
