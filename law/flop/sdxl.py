"""Stable Diffusion XL base: CLIP-L and CLIP-G, U-Net, 4-channel autoencoder."""

from __future__ import annotations

from .base import Formula
from .primitives import Work
from .sd15 import decode
from .text_encoders import clip_g, clip_l, clip_rows
from .unet import UNet


def text_encode(text_tokens: int) -> Work:
    return clip_l(text_tokens) + clip_g(text_tokens)


UNET = UNet(
    channel_mult=(1, 2, 4),
    transformer_depth=(0, 2, 10),
    middle_depth=10,
    context_dim=2048,
    adm_channels=2816,
)
FORMULA = Formula(
    context_rows=clip_rows, text_encode=text_encode, evaluation=UNET.evaluation, decode=decode
)
