"""SSIM: how alike the structures of two pictures are."""

from __future__ import annotations

import numpy as np

from .base import Metric, Seen, check_sides

SIGMA_PX = 1.5
TRUNCATE = 3.5
K = (0.01, 0.03)
"""Constants of Wang et al., Image quality assessment: from error visibility to structural
similarity, IEEE Transactions on Image Processing 13 (2004): a Gaussian window of 11 x 11 points."""

LEAST_PX = 11


def ssim(reference: np.ndarray, picture: np.ndarray) -> float:
    """Mean structural similarity over all channels, of values between 0 and 1; 1 for equal ones.

    Raises:
        UnmeasuredError: a side is shorter than the window of 11 points.
    """
    from scipy.ndimage import gaussian_filter

    check_sides("SSIM", LEAST_PX, reference)
    x, y = reference.astype(np.float64), picture.astype(np.float64)

    def smooth(values: np.ndarray) -> np.ndarray:
        sigma = (SIGMA_PX, SIGMA_PX, 0)
        return np.asarray(gaussian_filter(values, sigma, truncate=TRUNCATE))

    mean_x, mean_y = smooth(x), smooth(y)
    variance_x, variance_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    c1, c2 = (k**2 for k in K)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    border = LEAST_PX // 2
    return float((luminance * structure)[border:-border, border:-border].mean())


def _measure(seen: Seen, network: None) -> float:
    return ssim(*seen.pair)


SSIM = Metric(
    name="ssim",
    unit="",
    better="higher",
    range="-1 to 1 (equal)",
    meaning="mean structural similarity to the reference's picture, Gaussian window of 11 × 11 "
    "points, over all channels",
    measure=_measure,
    needs="reference",
    point=0.01,
)
