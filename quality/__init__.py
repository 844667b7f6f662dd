"""What pictures are like, and how far one is from another: :data:`METRICS`, one file each."""

from __future__ import annotations

from .base import Metric
from .clip_score import CLIP_SCORE
from .colourfulness import COLOURFULNESS
from .dists import DISTS
from .entropy import ENTROPY
from .lpips import LPIPS
from .psnr import PSNR
from .sharpness import SHARPNESS
from .ssim import SSIM

METRICS: tuple[Metric, ...] = (
    CLIP_SCORE,
    SHARPNESS,
    COLOURFULNESS,
    ENTROPY,
    PSNR,
    SSIM,
    LPIPS,
    DISTS,
)
"""In the order of their columns, ``quality_`` before the name."""
