"""The decoders that turn one latent into a picture.

Untiled: where ComfyUI falls back to tiles for want of memory the overlap costs more.
"""

from __future__ import annotations

from .primitives import Work, attention, conv2d

PX_PER_LATENT = 8
"""Every latent here has one cell for 8 x 8 pixels."""


def kl_decoder(width_px: int, height_px: int, z_channels: int, post_quant_conv: bool) -> Work:
    """The Stable Diffusion autoencoder's decoder (4 channels), also SD3's and Flux's (16)."""
    h, w = height_px // PX_PER_LATENT, width_px // PX_PER_LATENT
    total = conv2d(1, z_channels, z_channels, h, w) if post_quant_conv else Work()
    total += conv2d(3, z_channels, 512, h, w) + _middle(512, h, w)
    c_in = 512
    for level, c_out in enumerate((512, 512, 256, 128)):
        total += _resnet(c_in, c_out, h, w) + 2 * _resnet(c_out, c_out, h, w)
        if level < 3:
            h, w = 2 * h, 2 * w
            total += conv2d(3, c_out, c_out, h, w)
        c_in = c_out
    return total + conv2d(3, 128, 3, h, w)


def wan_decoder(width_px: int, height_px: int) -> Work:
    """The Wan 2.1 decoder that Qwen-Image uses, on one frame.

    A causal 3-d convolution over a single frame sees zeros before it, and ComfyUI leaves those
    products out: each counts as its last 2-d slice. Upsampling halves the channels.
    """
    h, w = height_px // PX_PER_LATENT, width_px // PX_PER_LATENT
    total = conv2d(1, 16, 16, h, w) + conv2d(3, 16, 384, h, w) + _middle(384, h, w)
    for level, (c_in, c_out) in enumerate(((384, 384), (192, 384), (192, 192), (96, 96))):
        total += _resnet(c_in, c_out, h, w) + 2 * _resnet(c_out, c_out, h, w)
        if level < 3:
            h, w = 2 * h, 2 * w
            total += conv2d(3, c_out, c_out // 2, h, w)
    return total + conv2d(3, 96, 3, h, w)


def _resnet(c_in: int, c_out: int, h: int, w: int) -> Work:
    shortcut = conv2d(1, c_in, c_out, h, w) if c_in != c_out else Work()
    return conv2d(3, c_in, c_out, h, w) + conv2d(3, c_out, c_out, h, w) + shortcut


def _middle(c: int, h: int, w: int) -> Work:
    """Two residual blocks around one head of self-attention."""
    attend = 4 * conv2d(1, c, c, h, w) + attention(h * w, h * w, c)
    return 2 * _resnet(c, c, h, w) + attend
