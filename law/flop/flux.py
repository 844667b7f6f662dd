"""FLUX.1 dev: CLIP-L and T5-XXL, 19 double-stream and 38 single-stream blocks, 16 channels."""

from __future__ import annotations

from . import vae
from .base import Formula
from .primitives import Work, attention, linear
from .text_encoders import clip_l, t5_xxl

D = 3072
D_FF = 4 * D
DOUBLE_BLOCKS, SINGLE_BLOCKS = 19, 38
PATCH_VALUES = 64
"""16 latent channels x 2 x 2 cells."""


def context_rows(text_tokens: int) -> int:
    """ComfyUI adds an end token and pads to at least 256 rows (the paper's pipeline to 512)."""
    return max(256, text_tokens + 1)


def text_encode(text_tokens: int) -> Work:
    return clip_l(text_tokens) + t5_xxl(context_rows(text_tokens))


def evaluation(width_px: int, height_px: int, context_rows: int) -> Work:
    image = image_rows(width_px, height_px)
    rows = image + context_rows
    double = mmdit_stream(image, D) + mmdit_stream(context_rows, D) + attention(rows, rows, D)
    single = 3 * linear(rows, D, D) + linear(rows, D, D_FF) + linear(rows, D + D_FF, D)
    single += attention(rows, rows, D)
    single += linear(1, D, 3 * D)
    vector = 2 * (linear(1, 256, D) + linear(1, D, D)) + linear(1, 768, D) + linear(1, D, D)
    inputs = linear(image, PATCH_VALUES, D) + linear(context_rows, 4096, D)
    output = linear(1, D, 2 * D) + linear(image, D, PATCH_VALUES)
    return vector + inputs + DOUBLE_BLOCKS * double + SINGLE_BLOCKS * single + output


def mmdit_stream(rows: int, d: int) -> Work:
    """Image or text in a double-stream block: projections, feed-forward, modulation."""
    projections = 4 * linear(rows, d, d)
    return projections + linear(rows, d, 4 * d) + linear(rows, 4 * d, d) + linear(1, d, 6 * d)


def image_rows(width_px: int, height_px: int) -> int:
    """Rows of 2 x 2 latent cells; an odd edge is padded."""
    return -(-width_px // (2 * vae.PX_PER_LATENT)) * -(-height_px // (2 * vae.PX_PER_LATENT))


def decode(width_px: int, height_px: int) -> Work:
    """Flux's autoencoder, which Z-Image shares and SD3.5's equals in size."""
    return vae.kl_decoder(width_px, height_px, z_channels=16, post_quant_conv=False)


FORMULA = Formula(
    context_rows=context_rows, text_encode=text_encode, evaluation=evaluation, decode=decode
)
