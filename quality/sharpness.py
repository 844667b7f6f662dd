"""Sharpness: the variance of a picture's Laplacian (Pech-Pacheco et al., ICPR 2000)."""

from __future__ import annotations

import numpy as np

from .base import Metric, Seen, luma


def laplacian_variance(picture: np.ndarray) -> float:
    """Of the luma of an 8-bit picture ``[height, width, 3]``, by the kernel of four neighbours.

    Borders are mirrored without repeating their points, as OpenCV's ``Laplacian`` does.
    """
    padded = np.pad(luma(picture).astype(np.float64), 1, mode="reflect")
    above, below = padded[:-2, 1:-1], padded[2:, 1:-1]
    left, right = padded[1:-1, :-2], padded[1:-1, 2:]
    return float((above + below + left + right - 4 * padded[1:-1, 1:-1]).var())


def _measure(seen: Seen, network: None) -> float:
    return laplacian_variance(seen.picture)


SHARPNESS = Metric(
    name="sharpness",
    unit="",
    better="neither",
    range="from 0",
    meaning="variance of the Laplacian of the 8-bit luma; noise and artefacts raise it too",
    measure=_measure,
)
