"""PSNR: how far the values of two pictures are apart."""

from __future__ import annotations

import math

import numpy as np

from .base import Metric, Seen, UnmeasuredError


def psnr_db(reference: np.ndarray, picture: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of values between 0 and 1; infinite for equal pictures."""
    error = float(np.mean((reference.astype(np.float64) - picture.astype(np.float64)) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def _measure(seen: Seen, network: None) -> float:
    found = psnr_db(*seen.pair)
    if math.isinf(found):
        raise UnmeasuredError("infinite: the picture is equal to its reference")
    return found


PSNR = Metric(
    name="psnr",
    unit="dB",
    better="higher",
    range="from 0",
    meaning="peak signal-to-noise ratio to the reference's picture; blank where they are equal",
    measure=_measure,
    needs="reference",
)
