"""Z-Image (Turbo): Qwen3-4B, 30 single-stream blocks with refiners, Flux's autoencoder."""

from __future__ import annotations

from .base import Formula
from .flux import PATCH_VALUES, decode, image_rows
from .primitives import Work, attention, linear
from .text_encoders import qwen3_4b

D = 3840
D_FF = 10240
BLOCKS, REFINER_BLOCKS = 30, 2
D_VECTOR = 256
"""Width of the timestep vector that modulates the blocks."""
TEMPLATE_TOKENS = 8
"""ComfyUI's chat template around the prompt: 3 tokens before it, 5 after it."""
ROW_MULTIPLE = 32
"""Image rows and text rows are each padded to a multiple of this."""


def context_rows(text_tokens: int) -> int:
    return text_tokens + TEMPLATE_TOKENS


def text_encode(text_tokens: int) -> Work:
    return qwen3_4b(context_rows(text_tokens))


def evaluation(width_px: int, height_px: int, context_rows: int) -> Work:
    cells = image_rows(width_px, height_px)
    image, text = _padded(cells), _padded(context_rows)
    modulation = linear(1, D_VECTOR, 4 * D)
    noise_refiner = REFINER_BLOCKS * (_block(image) + modulation)
    context_refiner = REFINER_BLOCKS * _block(text)
    blocks = BLOCKS * (_block(image + text) + modulation)
    vector = linear(1, 256, 1024) + linear(1, 1024, D_VECTOR)
    inputs = linear(cells, PATCH_VALUES, D) + linear(context_rows, 2560, D)
    output = linear(1, D_VECTOR, D) + linear(image + text, D, PATCH_VALUES)
    return vector + inputs + noise_refiner + context_refiner + blocks + output


def _padded(rows: int) -> int:
    return -(-rows // ROW_MULTIPLE) * ROW_MULTIPLE


def _block(rows: int) -> Work:
    return 4 * linear(rows, D, D) + attention(rows, rows, D) + 3 * linear(rows, D, D_FF)


FORMULA = Formula(
    context_rows=context_rows, text_encode=text_encode, evaluation=evaluation, decode=decode
)
