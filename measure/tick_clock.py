"""The rhythm of a counter that ticks evenly: once it is known, ticks need not be looked for.

On an H200 the energy counter ticked every 100.0 ms, and no tick lay further from an even rhythm
than the time between two reads.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

LEAST_TICKS = 10
"""Ticks that have to lie evenly before the rhythm is believed."""


TOLERANCE = 1.5
"""How far a tick may lie from the fitted rhythm, in uncertainties: the fit has an error too."""


class TickClock:
    """Learns the rhythm from ticks of known uncertainty, and forgets it when one is off."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=4 * LEAST_TICKS)
        self.period_s = 0.0
        self.error_s = math.inf
        self._origin_s = 0.0

    @property
    def is_known(self) -> bool:
        return self.period_s > 0

    def observe(self, tick_s: float, half_s: float) -> None:
        """A tick was seen between ``tick_s - half_s`` and ``tick_s + half_s``."""
        if self.is_known and abs(tick_s - self.nearest(tick_s)) > TOLERANCE * half_s:
            self.forget()
        self._seen.append((tick_s, half_s))
        if len(self._seen) >= LEAST_TICKS:
            self._fit()

    def forget(self) -> None:
        self._seen.clear()
        self.period_s, self.error_s = 0.0, math.inf

    def nearest(self, t_s: float) -> float:
        """The tick of the rhythm that is nearest to ``t_s``."""
        return self._origin_s + round((t_s - self._origin_s) / self.period_s) * self.period_s

    def last_before(self, t_s: float) -> float:
        """The last tick of the rhythm at or before ``t_s``."""
        return self._origin_s + math.floor((t_s - self._origin_s) / self.period_s) * self.period_s

    def _fit(self) -> None:
        """A straight line of time against number; kept if it meets every tick's uncertainty."""
        times, halves = np.array(self._seen).T
        period_s = self.period_s or float(np.median(np.diff(times)))
        numbers = np.round((times - times[-1]) / period_s)
        slope_s, origin_s = np.polyfit(numbers, times, 1)
        off_s = np.abs(times - origin_s - slope_s * numbers)
        if (off_s <= TOLERANCE * halves).all() and len(set(numbers)) == len(numbers):
            self.period_s, self._origin_s = float(slope_s), float(origin_s)
            self.error_s = float(np.sqrt(np.mean(off_s**2)))
        else:
            self.period_s, self.error_s = 0.0, math.inf
