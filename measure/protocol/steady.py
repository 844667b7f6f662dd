"""Whether a board has warmed up, from the state it was in after each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

WINDOW_S = 60.0
"""The time over which temperature and clock have to stand still."""

LEAST_SPAN_S = 20.0
"""Sensors give whole degrees, so a shorter time says nothing of their slope."""

STEADY_C_PER_MIN = 1.0
STEADY_CLOCK = 0.02
"""Relative range of the runs' mean SM clocks."""


class Warmth(NamedTuple):
    """The board after a run; ``None`` where its meter does not tell."""

    t_s: float
    temperature_c: float | None
    clock_hz: float | None


def what_moves(history: Sequence[Warmth]) -> str:
    """What is not steady yet over the last minute of ``history``; empty where all is.

    Raises:
        ValueError: nothing in it has a temperature.
    """
    known = [state for state in history if state.temperature_c is not None]
    if not known:
        raise ValueError("the meter gives no temperature")
    recent = [state for state in known if state.t_s >= known[-1].t_s - WINDOW_S]
    recent = known[-2:] if len(recent) < 2 else recent
    span_s = recent[-1].t_s - recent[0].t_s
    if span_s < LEAST_SPAN_S:
        return f"watched for {span_s:.0f} s only"
    times_min = np.array([state.t_s for state in recent]) / 60
    temperatures = np.array([state.temperature_c for state in recent], dtype=float)
    slope = float(np.polyfit(times_min - times_min[0], temperatures, 1)[0])
    if abs(slope) >= STEADY_C_PER_MIN:
        return f"temperature moves by {slope:+.1f} °C a minute"
    clocks = [state.clock_hz for state in recent if state.clock_hz is not None]
    if clocks and max(clocks) - min(clocks) > STEADY_CLOCK * max(clocks):
        return f"SM clock ranges from {min(clocks) / 1e6:.0f} to {max(clocks) / 1e6:.0f} MHz"
    return ""
