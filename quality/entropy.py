"""Entropy: how evenly a picture uses its 256 levels of brightness (Shannon 1948)."""

from __future__ import annotations

import numpy as np

from .base import Metric, Seen, luma


def entropy_bit(picture: np.ndarray) -> float:
    """Shannon entropy in bits of the 256 levels of an 8-bit picture's luma; 8 at most."""
    counts = np.bincount(luma(picture).ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    # 0.0 and not -0.0 for a picture of one level.
    return float(0.0 - (shares * np.log2(shares)).sum())


def _measure(seen: Seen, network: None) -> float:
    return entropy_bit(seen.picture)


ENTROPY = Metric(
    name="entropy",
    unit="bit",
    better="neither",
    range="0 to 8",
    meaning="Shannon entropy of the luma's histogram of 256 bins; where points lie does not matter",
    measure=_measure,
)
