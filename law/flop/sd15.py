"""Stable Diffusion 1.5: CLIP-L, U-Net, 4-channel autoencoder."""

from __future__ import annotations

from . import vae
from .base import Formula
from .primitives import Work
from .text_encoders import clip_l, clip_rows
from .unet import UNet


def decode(width_px: int, height_px: int) -> Work:
    return vae.kl_decoder(width_px, height_px, z_channels=4, post_quant_conv=True)


UNET = UNet(
    channel_mult=(1, 2, 4, 4), transformer_depth=(1, 1, 1, 0), middle_depth=1, context_dim=768
)
FORMULA = Formula(
    context_rows=clip_rows, text_encode=clip_l, evaluation=UNET.evaluation, decode=decode
)
