"""A picture against that of the same seed: broken, or how far away.

Pictures are arrays of ``[height, width, channels]`` with values between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..records import PictureCheck
from .base import UnmeasuredError
from .psnr import psnr_db
from .ssim import ssim

FLAT_STDEV = 1 / 255
"""Below one step of an 8-bit picture there is nothing to see."""

BLACK_MAXIMUM = 2 / 255

Lpips = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Limits:
    """What a picture must keep to count as the reference's picture.

    The defaults tell a broken picture from a changed one. Unrelated pictures have a PSNR of about
    10 dB and an SSIM of about 0.2; good pictures of 4-bit models lie near 20 dB (SVDQuant, arXiv
    2411.05007, table 1).
    """

    min_psnr_db: float = 15.0
    min_ssim: float = 0.4
    max_lpips: float = 0.6


def check_pictures(
    references: Sequence[np.ndarray],
    pictures: Sequence[np.ndarray],
    reference_id: str,
    limits: Limits,
    lpips: Lpips | None = None,
) -> PictureCheck:
    """The pictures of one run, a batch, against those of the reference run; the worst counts.

    PSNR stays ``None`` where all pictures are equal to their references: it is infinite then.

    Args:
        reference_id: the reference run's id.
        lpips: distance of two pictures by the LPIPS metric, where it is available.

    Raises:
        ValueError: the pictures differ in number or size.
    """
    if [p.shape for p in pictures] != [r.shape for r in references]:
        raise ValueError(
            f"pictures of {[p.shape for p in pictures]} cannot be compared with references of "
            f"{[r.shape for r in references]}; give both runs the same size and batch"
        )
    checks = [
        _check(reference, picture, reference_id, limits, lpips)
        for reference, picture in zip(references, pictures, strict=True)
    ]
    distances = [check.lpips for check in checks if check.lpips is not None]
    return PictureCheck(
        reference=reference_id,
        fault="; ".join(dict.fromkeys(check.fault for check in checks if check.fault)),
        psnr_db=_least([check.psnr_db for check in checks]),
        ssim=_least([check.ssim for check in checks]),
        lpips=max(distances, default=None),
    )


def broken(picture: np.ndarray) -> str:
    """What is broken in a picture that can be seen without a reference; empty if nothing is."""
    if not np.isfinite(picture).all():
        return "the picture holds NaN or infinity"
    if picture.std() < FLAT_STDEV:
        return "the picture is black" if picture.max() < BLACK_MAXIMUM else "the picture is flat"
    return ""


def _check(
    reference: np.ndarray,
    picture: np.ndarray,
    reference_id: str,
    limits: Limits,
    lpips: Lpips | None,
) -> PictureCheck:
    of_reference = "the reference's picture is broken" if broken(reference) else ""
    faults = [fault for fault in (broken(picture), of_reference) if fault]
    if not (np.isfinite(picture).all() and np.isfinite(reference).all()):
        return PictureCheck(reference_id, ", ".join(faults))
    peak = psnr_db(reference, picture)
    similarity = _unless_too_small(ssim, reference, picture)
    has_colours = picture.shape[2] == 3
    distance = _unless_too_small(lpips, reference, picture) if lpips and has_colours else None
    if peak < limits.min_psnr_db:
        faults.append(f"PSNR below {limits.min_psnr_db:g} dB")
    if similarity is not None and similarity < limits.min_ssim:
        faults.append(f"SSIM below {limits.min_ssim:g}")
    if distance is not None and distance > limits.max_lpips:
        faults.append(f"LPIPS above {limits.max_lpips:g}")
    finite_peak = None if math.isinf(peak) else peak
    return PictureCheck(reference_id, ", ".join(faults), finite_peak, similarity, distance)


def _unless_too_small(
    distance: Callable[[np.ndarray, np.ndarray], float], reference: np.ndarray, picture: np.ndarray
) -> float | None:
    try:
        return distance(reference, picture)
    except UnmeasuredError:
        return None


def _least(values: Sequence[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)
