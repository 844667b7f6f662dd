"""4-bit NormalFloat in blocks of 64: the bytes and scales that bitsandbytes makes.

``int4`` quantizes the scales once more (double quantization). Dettmers et al., QLoRA, arXiv
2305.14314, section 3. The 16 values and the table of the scales are bitsandbytes' constants and
are not stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from ..base import Format, Package, Tensors, TensorSpec, largest

if TYPE_CHECKING:
    import torch

BLOCK = 64
NESTED_BLOCK = 256

BITSANDBYTES = Package("bitsandbytes", "pip install bitsandbytes")


@dataclass(frozen=True)
class Nf4(Format):
    """NF4 weights: two to a byte ``[out, in / 2]``, a scale per block of 64."""

    is_double: bool = False

    def config(self, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"format": self.name, "block_size": BLOCK}

    def stored_spec(self, shape: tuple[int, ...]) -> dict[str, TensorSpec]:
        import torch

        blocks = prod(shape) // BLOCK
        spec = {"weight": TensorSpec((shape[0], shape[1] // 2), torch.uint8)}
        if not self.is_double:
            return {**spec, "weight_scale": TensorSpec((blocks,), torch.float32)}
        return {
            **spec,
            "weight_scale": TensorSpec((blocks,), torch.uint8),
            "weight_nested_scale": TensorSpec((ceil(blocks / NESTED_BLOCK),), torch.float32),
            "weight_nested_offset": TensorSpec((), torch.float32),
        }

    def shape(self, stored: Tensors) -> tuple[int, ...]:
        rows, packed = stored["weight"].shape
        return rows, 2 * packed

    def supports(self, shape: tuple[int, ...]) -> str:
        reason = super().supports(shape)
        if not reason and (shape[1] % 2 or prod(shape) % BLOCK):
            reason = f"blocks of {BLOCK} weights do not fill {shape[0]} x {shape[1]}"
        return reason

    def _quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        import torch
        from bitsandbytes import functional

        largest(weight)
        if weight.dtype.itemsize == 1:
            weight = weight.to(torch.bfloat16)
        packed, state = functional.quantize_4bit(
            weight.contiguous(),
            blocksize=BLOCK,
            quant_type="nf4",
            compress_statistics=self.is_double,
        )
        stored = {
            "weight": packed.view(weight.shape[0], weight.shape[1] // 2),
            "weight_scale": state.absmax,
        }
        if self.is_double:
            stored["weight_nested_scale"] = state.state2.absmax
            stored["weight_nested_offset"] = state.offset
        return stored

    def dequantize(self, stored: Tensors, dtype: torch.dtype) -> torch.Tensor:
        from bitsandbytes import functional

        packed = stored["weight"]
        state = functional.QuantState(
            self._scales(stored),
            shape=self.shape(stored),
            blocksize=BLOCK,
            quant_type="nf4",
            dtype=dtype,
        )
        return functional.dequantize_4bit(packed.reshape(-1, 1), state)

    def _scales(self, stored: Tensors) -> torch.Tensor:
        """One fp32 scale per block."""
        from bitsandbytes import functional

        if not self.is_double:
            return stored["weight_scale"]
        nested = stored["weight_nested_scale"]
        code = functional.create_dynamic_map().to(nested.device)
        scales = functional.dequantize_blockwise(
            stored["weight_scale"], absmax=nested, code=code, blocksize=NESTED_BLOCK
        )
        return scales + stored["weight_nested_offset"]


NF4 = Nf4(
    "nf4", "4-bit NormalFloat weights", "dequantized", weight_only="nf4", package=BITSANDBYTES
)
INT4 = Nf4(
    "int4",
    "4-bit NormalFloat weights, scales quantized too",
    "dequantized",
    weight_only="int4",
    package=BITSANDBYTES,
    is_double=True,
)
