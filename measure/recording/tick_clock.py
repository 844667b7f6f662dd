"""The rhythm of a counter that ticks evenly: once it is known, ticks need not be looked for.

A tick can only be seen after it happened, and a read may be held up, so the time at which a tick is
seen is late by an unknown amount and an average of such times is late as well. A read that shows
the old value, however, came before the tick for certain, and one that shows the new value after it.
Each read thus cuts off some of the pairs of phase and period that an even rhythm may have; what is
left is a convex polygon, and says from when to when any tick of the rhythm can lie. It does not
matter when the reads were made, nor how late any of them was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

DRIFT = 1e-5
"""How far two clocks go apart, as a part of the time that passes unwatched. Quartz is better."""

LEAST_PERIOD_S = 1e-6
LEAST_SLACK_S = 1e-4


class TickClock:
    """All even rhythms that no read contradicts. Ticks are numbered; numbers go on for ever.

    Args:
        first: between which two moments a tick came, in ``time.perf_counter`` seconds.
        second: the same for the next tick; they get the numbers 0 and 1.
    """

    def __init__(self, first: tuple[float, float], second: tuple[float, float]) -> None:
        self.slack_s = 0.0
        """How far a tick may lie from an even rhythm."""
        self._last = 1
        shortest_s = max(second[0] - first[1], LEAST_PERIOD_S)
        self._set(1, second, (shortest_s, max(second[1] - first[0], shortest_s)))
        self.narrow(0, *first)

    def _set(self, anchor: int, span_s: Sequence[float], periods_s: Sequence[float]) -> None:
        (early_s, late_s), (short_s, long_s) = span_s, periods_s
        self._first = self._anchor = anchor
        self._corners = [(early_s, short_s), (late_s, short_s), (late_s, long_s), (early_s, long_s)]

    @property
    def period_s(self) -> float:
        return sum(period_s for _, period_s in self._corners) / len(self._corners)

    def bounds(self, number: int) -> tuple[float, float]:
        """The earliest and the latest moment at which a tick can come."""
        ahead = number - self._anchor
        times = [tick_s + ahead * period_s for tick_s, period_s in self._corners]
        doubt_s = self.slack_s + max(0, number - self._last) * self._corners[0][1] * DRIFT
        return min(times) - doubt_s, max(times) + doubt_s

    def time(self, number: int) -> tuple[float, float]:
        """When a tick comes, and how far off that may be."""
        early_s, late_s = self.bounds(number)
        return (early_s + late_s) / 2, (late_s - early_s) / 2

    def seen_by(self, began_s: float, ended_s: float) -> tuple[int, int]:
        """The last tick that a read between two moments shows for certain, and that it can show."""
        number = self._anchor + math.floor((ended_s - self._corners[0][0]) / self.period_s) - 1
        while self.bounds(number)[0] <= ended_s:
            number += 1
        may_have_come = number = number - 1
        while self.bounds(number)[1] >= began_s:
            number -= 1
        return number, may_have_come

    def narrow(self, number: int, after_s: float = -math.inf, before_s: float = math.inf) -> bool:
        """A tick came between two moments; returns false, and learns nothing, if it cannot have."""
        ahead = number - self._anchor
        corners = _cut(self._corners, ahead, after_s - self.slack_s, 1)
        corners = _cut(corners, ahead, before_s + self.slack_s, -1)
        if corners:
            self._corners, self._last = corners, max(self._last, number)
            self._first = min(self._first, number)
        return bool(corners)

    def loosen(self, number: int, by_s: float) -> None:
        """A tick lay ``by_s`` outside of its bounds: ticks are that much less even, or drifted."""
        early_s, late_s = self.bounds(number)
        self.slack_s = by_s = max(2 * self.slack_s, by_s)
        bend_s = by_s / max(number - self._first, 1)
        periods_s = [period_s for _, period_s in self._corners]
        shortest_s = max(min(periods_s) - bend_s, LEAST_PERIOD_S)
        self._set(number, (early_s - by_s, late_s + by_s), (shortest_s, max(periods_s) + bend_s))
        self._last = number

    def tighten(self) -> None:
        """Ticks have come where they had to for a while: let them be more even again."""
        self.slack_s = self.slack_s / 2 if self.slack_s > LEAST_SLACK_S else 0.0


def _cut(
    corners: list[tuple[float, float]], ahead: int, limit_s: float, sign: int
) -> list[tuple[float, float]]:
    """The part of a convex polygon where ``sign * (tick + ahead * period - limit)`` is >= 0.

    Sutherland and Hodgman, Reentrant polygon clipping, Communications of the ACM 17 (1974) 32.
    """
    above = [sign * (tick_s + ahead * period_s - limit_s) for tick_s, period_s in corners]
    if min(above, default=0.0) >= 0:
        return corners
    kept = []
    for index, corner in enumerate(corners):
        before, before_above = corners[index - 1], above[index - 1]
        if (above[index] < 0) != (before_above < 0):
            part = before_above / (before_above - above[index])
            kept.append(
                (
                    before[0] + part * (corner[0] - before[0]),
                    before[1] + part * (corner[1] - before[1]),
                )
            )
        if above[index] >= 0:
            kept.append(corner)
    return kept
