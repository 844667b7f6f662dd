"""FLUX.2 klein, 4B and 9B: Qwen3 and double and single blocks, 128 channels, 16 px a cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import vae
from .base import Formula
from .primitives import Work, attention, linear
from .text_encoders import qwen3_4b, qwen3_8b

PX_PER_CELL = 16
CHANNELS = 128
MLP_RATIO = 3
LEAST_ROWS = 512
"""ComfyUI pads a prompt to at least this many rows, in the encoder too."""
TEMPLATE_TOKENS = 12
"""The chat template around the prompt: 3 tokens before it, 9 after it, an empty thought with it."""
LAYERS_READ = 3
"""The conditioning is of three layers of the text encoder, side by side."""


@dataclass(frozen=True)
class Size:
    """Width of the blocks, how many there are, and the width of the text encoder."""

    d: int
    double_blocks: int
    single_blocks: int
    d_text: int
    encode: Callable[[int], Work]


def context_rows(text_tokens: int) -> int:
    return max(LEAST_ROWS, text_tokens + TEMPLATE_TOKENS)


def decode(width_px: int, height_px: int) -> Work:
    """The decoder of Flux's shape with 32 channels, and a 1 x 1 convolution before it."""
    return vae.kl_decoder(
        width_px // PX_PER_CELL * PX_PER_CELL,
        height_px // PX_PER_CELL * PX_PER_CELL,
        z_channels=CHANNELS // 4,
        post_quant_conv=True,
    )


def formula_of(size: Size) -> Formula[Work]:
    """Modulation is computed once for all double blocks of a stream, and for all single ones."""
    d, d_ff = size.d, MLP_RATIO * size.d

    def stream(rows: int) -> Work:
        feed_forward = linear(rows, d, 2 * d_ff) + linear(rows, d_ff, d)
        return linear(rows, d, 3 * d) + linear(rows, d, d) + feed_forward

    def evaluation(width_px: int, height_px: int, context_rows: int) -> Work:
        image = width_px // PX_PER_CELL * (height_px // PX_PER_CELL)
        rows = image + context_rows
        attend = attention(rows, rows, d)
        double = stream(image) + stream(context_rows) + attend
        single = linear(rows, d, 3 * d + 2 * d_ff) + linear(rows, d + d_ff, d) + attend
        vector = linear(1, 256, d) + linear(1, d, d)
        modulation = 2 * linear(1, d, 6 * d) + linear(1, d, 3 * d)
        inputs = linear(image, CHANNELS, d) + linear(context_rows, LAYERS_READ * size.d_text, d)
        output = linear(1, d, 2 * d) + linear(image, d, CHANNELS)
        blocks = size.double_blocks * double + size.single_blocks * single
        return vector + modulation + inputs + blocks + output

    return Formula(
        context_rows=context_rows,
        text_encode=lambda text_tokens: size.encode(context_rows(text_tokens)),
        evaluation=evaluation,
        decode=decode,
        px_per_cell=PX_PER_CELL,
    )


KLEIN_4B = formula_of(Size(3072, 5, 20, 2560, qwen3_4b))
KLEIN_9B = formula_of(Size(4096, 8, 24, 4096, qwen3_8b))
