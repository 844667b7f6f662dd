"""Stable Diffusion 2: OpenCLIP-H, U-Net, 4-channel autoencoder."""

from __future__ import annotations

from .base import Formula
from .sd15 import decode
from .text_encoders import clip_h, clip_rows
from .unet import UNet

UNET = UNet(
    channel_mult=(1, 2, 4, 4), transformer_depth=(1, 1, 1, 0), middle_depth=1, context_dim=1024
)
FORMULA = Formula(
    context_rows=clip_rows, text_encode=clip_h, evaluation=UNET.evaluation, decode=decode
)
