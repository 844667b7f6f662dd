"""Colourfulness (Hasler and Süsstrunk, Measuring colorfulness in natural images, SPIE 2003)."""

from __future__ import annotations

import math

import numpy as np

from .base import Metric, Seen


def colourfulness(picture: np.ndarray) -> float:
    """The paper's M̂⁽³⁾ of an 8-bit picture ``[height, width, 3]``; 0 for grey ones.

    It is the spread of the opponent colours red - green and (red + green) / 2 - blue, and 0.3 of
    their mean's distance from grey.
    """
    red, green, blue = np.moveaxis(picture.astype(np.float64), -1, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = math.hypot(float(red_green.std()), float(yellow_blue.std()))
    return spread + 0.3 * math.hypot(float(red_green.mean()), float(yellow_blue.mean()))


def _measure(seen: Seen, network: None) -> float:
    return colourfulness(seen.picture)


COLOURFULNESS = Metric(
    name="colourfulness",
    unit="",
    better="neither",
    range="from 0 (grey)",
    meaning="Hasler and Süsstrunk's M̂⁽³⁾ of the 8-bit values; wrong colours raise it too",
    measure=_measure,
)
