"""The qualities of one run's pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from ..records import Quality
from . import METRICS
from .base import Metric, Network, Seen, UnmeasuredError


def qualities(
    pictures: Sequence[np.ndarray],
    networks: Mapping[str, Network],
    prompt: str = "",
    references: Sequence[np.ndarray] | None = None,
) -> tuple[Quality, ...]:
    """Every metric that can be asked of a run's pictures, as their mean.

    Metrics that need a reference are measured where there are ``references``, those that need a
    network where ``networks`` has one under their name. One that says nothing of a picture is a
    blank with its reason.

    Args:
        pictures: ``[height, width, 3]`` with values between 0 and 1, those of one prompt and seed.
        references: the reference run's of the same prompt and seed, in the same order.

    Raises:
        ValueError: the references differ from the pictures in number.
    """
    if references is not None and len(references) != len(pictures):
        raise ValueError(
            f"{len(pictures)} pictures cannot be compared with {len(references)} references; give "
            "both runs the same batch"
        )
    seen = [
        Seen(as_8_bit(picture), None if references is None else as_8_bit(references[i]), prompt)
        for i, picture in enumerate(pictures)
        if np.isfinite(picture).all()
    ]
    reason = "" if len(seen) == len(pictures) else "the picture holds NaN or infinity"
    asked = [
        metric
        for metric in METRICS
        if (metric.needs != "reference" or references is not None)
        and (metric.load is None or metric.name in networks)
    ]
    return tuple(_quality(metric, seen, networks.get(metric.name), reason) for metric in asked)


def as_8_bit(picture: np.ndarray) -> np.ndarray:
    """Values between 0 and 1 as ComfyUI's SaveImage rounds them."""
    return np.asarray((255.0 * np.asarray(picture, np.float32)).clip(0, 255).astype(np.uint8))


def _quality(metric: Metric, seen: Sequence[Seen], network: Network | None, reason: str) -> Quality:
    model = network.name if network else ""
    value = None
    if not reason:
        try:
            value = fmean(metric.measure(one, network and network.value) for one in seen)
        except UnmeasuredError as error:
            reason = str(error)
    return Quality(metric.name, value, metric.unit, model, reason)
