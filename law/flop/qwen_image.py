"""Qwen-Image: Qwen2.5-VL-7B, 60 MMDiT blocks, the Wan 2.1 autoencoder."""

from __future__ import annotations

from . import vae
from .base import Formula
from .flux import PATCH_VALUES, image_rows, mmdit_stream
from .primitives import Work, attention, linear
from .text_encoders import qwen2_5_vl_7b

D = 3072
BLOCKS = 60
TEMPLATE_PREFIX_TOKENS, TEMPLATE_SUFFIX_TOKENS = 34, 5
"""ComfyUI's chat template around the prompt; the prefix is encoded, then cut off."""


def context_rows(text_tokens: int) -> int:
    return text_tokens + TEMPLATE_SUFFIX_TOKENS


def text_encode(text_tokens: int) -> Work:
    return qwen2_5_vl_7b(TEMPLATE_PREFIX_TOKENS + context_rows(text_tokens))


def evaluation(width_px: int, height_px: int, context_rows: int) -> Work:
    image = image_rows(width_px, height_px)
    rows = image + context_rows
    block = mmdit_stream(image, D) + mmdit_stream(context_rows, D) + attention(rows, rows, D)
    vector = linear(1, 256, D) + linear(1, D, D)
    inputs = linear(image, PATCH_VALUES, D) + linear(context_rows, 3584, D)
    output = linear(1, D, 2 * D) + linear(image, D, PATCH_VALUES)
    return vector + inputs + BLOCKS * block + output


FORMULA = Formula(
    context_rows=context_rows,
    text_encode=text_encode,
    evaluation=evaluation,
    decode=vae.wan_decoder,
)
