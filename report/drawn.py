"""Estimates and axes as the page's charts draw them, ready for JSON."""

from __future__ import annotations

import math
from typing import Any

from ..analysis.glance import Axis
from ..records import Estimate
from ..tables.decimals import with_half_width

FIGURES = 6
"""Significant figures of a number that is drawn; it travels with the workflow."""


def value_drawn(found: Estimate) -> dict[str, Any]:
    """``text``, ``half``, ``value``, and the ends of the interval: ``None`` where it has none."""
    mean, _, half = with_half_width(found.value, found.half_width).partition(" ± ")
    has_interval = math.isfinite(found.half_width)
    return {
        "text": mean,
        "half": half,
        "value": short(found.value),
        "low": short(found.ci_low) if has_interval else None,
        "high": short(found.ci_high) if has_interval else None,
    }


def axis_drawn(axis: Axis | None) -> list[float] | None:
    """Its ticks."""
    return None if axis is None else list(axis.ticks)


def short(value: float) -> float:
    """A number with as many figures as are drawn."""
    return float(f"{value:.{FIGURES}g}")
