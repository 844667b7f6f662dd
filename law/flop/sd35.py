"""Stable Diffusion 3.5 Large: CLIP-L, CLIP-G and T5-XXL, 38 MMDiT blocks, 16 channels."""

from __future__ import annotations

from .base import Formula
from .flux import PATCH_VALUES, decode, image_rows, mmdit_stream
from .primitives import Work, attention, linear
from .text_encoders import clip_g, clip_l, clip_rows, t5_xxl

D = 2432
BLOCKS = 38


def t5_rows(text_tokens: int) -> int:
    """ComfyUI adds an end token and pads to at least 77 rows (the paper's pipeline to 256)."""
    return max(77, text_tokens + 1)


def context_rows(text_tokens: int) -> int:
    return clip_rows(text_tokens) + t5_rows(text_tokens)


def text_encode(text_tokens: int) -> Work:
    return clip_l(text_tokens) + clip_g(text_tokens) + t5_xxl(t5_rows(text_tokens))


def evaluation(width_px: int, height_px: int, context_rows: int) -> Work:
    image = image_rows(width_px, height_px)
    rows = image + context_rows
    blocks = BLOCKS * (mmdit_stream(image, D) + attention(rows, rows, D))
    blocks += (BLOCKS - 1) * mmdit_stream(context_rows, D)
    # The last block drops the text after attention: no projection, no feed-forward, and only 2 of
    # the 6 modulation vectors.
    blocks += 3 * linear(context_rows, D, D) + linear(1, D, 2 * D)
    vector = linear(1, 256, D) + linear(1, D, D) + linear(1, 2048, D) + linear(1, D, D)
    inputs = linear(image, PATCH_VALUES, D) + linear(context_rows, 4096, D)
    output = linear(1, D, 2 * D) + linear(image, D, PATCH_VALUES)
    return vector + inputs + blocks + output


FORMULA = Formula(
    context_rows=context_rows, text_encode=text_encode, evaluation=evaluation, decode=decode
)
