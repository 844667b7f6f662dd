"""The latent-diffusion U-Net, of which SD1.5, SD2 and SDXL are three sizes."""

from __future__ import annotations

from dataclasses import dataclass

from .primitives import Work, attention, conv2d, linear
from .vae import PX_PER_LATENT

BASE_CHANNELS = 320
EMBEDDING = 4 * BASE_CHANNELS
LATENT_CHANNELS = 4


@dataclass(frozen=True)
class UNet:
    """What sets one U-Net apart. Depths count transformer blocks, one number per level."""

    channel_mult: tuple[int, ...]
    transformer_depth: tuple[int, ...]
    middle_depth: int
    context_dim: int
    adm_channels: int = 0
    """Width of the pooled text and size vector; 0 where the model takes none."""

    def evaluation(self, width_px: int, height_px: int, context_rows: int) -> Work:
        """One function evaluation on one latent."""
        sizes = [(height_px // PX_PER_LATENT, width_px // PX_PER_LATENT)]
        for _ in self.channel_mult[1:]:
            h, w = sizes[-1]
            sizes.append(((h + 1) // 2, (w + 1) // 2))
        channels = [BASE_CHANNELS * mult for mult in self.channel_mult]
        h, w = sizes[0]
        total = self._embedding() + conv2d(3, LATENT_CHANNELS, BASE_CHANNELS, h, w)
        down, skips = self._down(sizes, channels, context_rows)
        total += down
        h, w = sizes[-1]
        total += 2 * _resnet(channels[-1], channels[-1], h, w)
        total += self._transformer(self.middle_depth, channels[-1], h * w, context_rows)
        total += self._up(sizes, channels, context_rows, skips)
        return total + conv2d(3, BASE_CHANNELS, LATENT_CHANNELS, *sizes[0])

    def _embedding(self) -> Work:
        time = linear(1, BASE_CHANNELS, EMBEDDING) + linear(1, EMBEDDING, EMBEDDING)
        if not self.adm_channels:
            return time
        return time + linear(1, self.adm_channels, EMBEDDING) + linear(1, EMBEDDING, EMBEDDING)

    def _down(
        self, sizes: list[tuple[int, int]], channels: list[int], context_rows: int
    ) -> tuple[Work, list[int]]:
        """The way down, and the channels of the skips it leaves behind."""
        total, c_in, skips = Work(), BASE_CHANNELS, [BASE_CHANNELS]
        last = len(channels) - 1
        for level, (c, (h, w)) in enumerate(zip(channels, sizes, strict=True)):
            for _ in range(2):
                total += _resnet(c_in, c, h, w)
                total += self._transformer(self.transformer_depth[level], c, h * w, context_rows)
                skips.append(c)
                c_in = c
            if level < last:
                total += conv2d(3, c, c, *sizes[level + 1])
                skips.append(c)
        return total, skips

    def _up(
        self,
        sizes: list[tuple[int, int]],
        channels: list[int],
        context_rows: int,
        skips: list[int],
    ) -> Work:
        total, c_in = Work(), channels[-1]
        for level in reversed(range(len(channels))):
            c, (h, w) = channels[level], sizes[level]
            for _ in range(3):
                total += _resnet(c_in + skips.pop(), c, h, w)
                total += self._transformer(self.transformer_depth[level], c, h * w, context_rows)
                c_in = c
            if level > 0:
                total += conv2d(3, c, c, *sizes[level - 1])
        return total

    def _transformer(self, depth: int, c: int, rows: int, context_rows: int) -> Work:
        """``depth`` blocks of self-attention, cross-attention and GEGLU between two projections."""
        if depth == 0:
            return Work()
        self_attention = 4 * linear(rows, c, c) + attention(rows, rows, c)
        cross = 2 * linear(rows, c, c) + 2 * linear(context_rows, self.context_dim, c)
        cross += attention(rows, context_rows, c)
        feed_forward = linear(rows, c, 8 * c) + linear(rows, 4 * c, c)
        return 2 * linear(rows, c, c) + depth * (self_attention + cross + feed_forward)


def _resnet(c_in: int, c_out: int, h: int, w: int) -> Work:
    shortcut = conv2d(1, c_in, c_out, h, w) if c_in != c_out else Work()
    convolutions = conv2d(3, c_in, c_out, h, w) + conv2d(3, c_out, c_out, h, w)
    return convolutions + shortcut + linear(1, EMBEDDING, c_out)
