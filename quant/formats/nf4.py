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
from ..blocks import in_blocks

if TYPE_CHECKING:
    import torch

BLOCK = 64
NESTED_BLOCK = 256
SMALLEST_SCALE = 1e-38
"""By which bitsandbytes divides at least, on a CPU."""

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
        from bitsandbytes import functional

        blocks = weight.reshape(-1, BLOCK)
        if weight.device.type == "cpu":
            packed, scales = _quantize_on_cpu(blocks)
        else:
            blocks = _checked(blocks)
            packed, state = functional.quantize_4bit(blocks, blocksize=BLOCK, quant_type="nf4")
            scales = state.absmax
        stored = {"weight": packed.view(weight.shape[0], weight.shape[1] // 2)}
        if not self.is_double:
            return {**stored, "weight_scale": scales}
        return {**stored, **_quantize_scales(scales)}

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


def _checked(blocks: torch.Tensor) -> torch.Tensor:
    """``blocks`` in 16 bits or more, without infinities and NaN."""
    import torch

    if blocks.dtype.itemsize == 1:
        blocks = blocks.to(torch.bfloat16)
    largest(blocks)
    return blocks


def _quantize_on_cpu(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What bitsandbytes makes of ``blocks`` ``[n, 64]``, in little memory and a sixth of its time.

    bitsandbytes searches for each number in the midpoints between the 16 values, and in seven
    times the memory of the whole; here each midpoint is compared with many numbers at once.

    Returns:
        Bytes of two numbers each, uint8 ``[n, 32]``, and scales, fp32 ``[n]``.
    """
    import torch
    from bitsandbytes import functional

    code = functional.get_4bit_type("nf4", device="cpu")
    midpoints = ((code[:-1] + code[1:]) / 2).tolist()
    packed = torch.empty((len(blocks), BLOCK // 2), dtype=torch.uint8)
    scales = torch.empty(len(blocks), dtype=torch.float32)
    for part, packed_part, scale in in_blocks(blocks, packed, scales):
        scaled = _checked(part).to(torch.float32, copy=True)
        torch.amax(scaled.abs(), 1, out=scale)
        scaled.mul_(scale.clamp(min=SMALLEST_SCALE).reciprocal_()[:, None])
        index, is_above = torch.zeros_like(scaled), torch.empty_like(scaled)
        for midpoint in midpoints:
            index.add_(torch.gt(scaled, midpoint, out=is_above))
        packed_part.copy_(index[:, ::2].mul(16).add_(index[:, 1::2]))
    return packed, scales


def _quantize_scales(scales: torch.Tensor) -> dict[str, torch.Tensor]:
    """Double quantization: what the scales differ from their mean by, as 8-bit numbers."""
    from bitsandbytes import functional

    offset = scales.mean()
    codes, state = functional.quantize_blockwise(scales - offset, blocksize=NESTED_BLOCK)
    return {
        "weight_scale": codes,
        "weight_nested_scale": state.absmax,
        "weight_nested_offset": offset,
    }


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
