"""How a board's power follows what it is asked to do: not at once.

Between a kernel's start and the power that the counter sees lie capacitors, voltage regulators and
the sensor's own filter. Together they act as a response of the first order with one time constant:
power goes towards a phase's level exponentially, and comes down as slowly when the phase is over.
For a given time constant a tick's energy is still linear in the levels of the phases: only the
seconds that each phase has in each tick change, to the integral of its response.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TIME_CONSTANTS_S = np.array(
    [0.0, 0.004, 0.008, 0.012, 0.018, 0.026, 0.038, 0.055, 0.08, 0.115, 0.165, 0.24]
)
"""Those that are tried; between them the best is interpolated."""

FINE_COUNT = 17
"""So many are tried around the best of them, and a parabola is laid through the best of those."""

SIGNIFICANT = 10.0
"""A response has to explain so many times what one more number explains of mere noise."""


@dataclass(frozen=True, slots=True)
class Segments:
    """The stretches between all borders of ticks and intervals, in order of time.

    ``tick`` is the tick that each lies in, ``interval`` the interval, or -1 for none.
    """

    length_s: Floats
    tick: NDArray[np.intp]
    interval: NDArray[np.intp]

    @classmethod
    def of(cls, times: Floats, starts: Floats, ends: Floats) -> Segments:
        [segments] = cls.of_runs(times[None], starts[None], ends[None])
        return segments

    @classmethod
    def of_runs(cls, times: Floats, starts: Floats, ends: Floats) -> list[Segments]:
        """Those of each of many runs; arguments are ``[runs, ticks]`` and ``[runs, intervals]``."""
        inner = np.concatenate([starts, ends], axis=1)
        is_within = (inner > times[:, :1]) & (inner < times[:, -1:])
        borders = np.concatenate([times, np.where(is_within, inner, times[:, :1])], axis=1)
        borders.sort(axis=1)
        is_new = np.diff(borders, axis=1, prepend=-np.inf) > 0
        found: list[Segments] = [None] * len(times)  # type: ignore[list-item]
        for places in alike(is_new.sum(axis=1).tolist()):
            own = borders[places][is_new[places]].reshape(len(places), -1)
            middles = (own[:, :-1] + own[:, 1:]) / 2
            interval = _count_below(starts[places], middles) - 1
            until = np.take_along_axis(ends[places], np.maximum(interval, 0), axis=1)
            inside = (interval >= 0) & (middles < until)
            columns = zip(
                np.diff(own, axis=1),
                _count_below(times[places], middles) - 1,
                np.where(inside, interval, -1),
                strict=True,
            )
            for place, column in zip(places, columns, strict=True):
                found[place] = cls(*column)
        return found

    def response(self, columns: Sequence[int], count: int, time_constants_s: Floats) -> Floats:
        """Seconds of each level in each segment, ``[time constants, segments, count + 1]``.

        ``columns`` gives each interval's level; the one of rest, which the board has at first,
        stands last.
        """
        owner = np.append(np.asarray(columns, dtype=np.intp), count)[self.interval]
        return responses(self.length_s[None], owner[None], count, time_constants_s)[0]

    def by_tick(self, seconds: Floats) -> Floats:
        """Sums over the segments of each tick; segments are the second axis but one."""
        firsts = np.flatnonzero(np.diff(self.tick, prepend=-1))
        return np.asarray(np.add.reduceat(seconds, firsts, axis=-2))


def alike(keys: Iterable[Hashable]) -> list[list[int]]:
    """The places of equal keys, together."""
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return list(places.values())


def _count_below(values: Floats, limits: Floats) -> NDArray[np.intp]:
    """How many values of its row are less than each limit, ``[rows, limits]``."""
    return np.asarray((values[:, None, :] < limits[:, :, None]).sum(axis=2))


def responses(
    length_s: Floats, owner: NDArray[np.intp], count: int, time_constants_s: Floats
) -> Floats:
    """As :meth:`Segments.response` of many runs, ``[runs, constants, segments, count + 1]``.

    Args:
        length_s: of segments, ``[runs, segments]``.
        owner: the level of each, ``count`` for rest.
    """
    runs, segments = length_s.shape
    asked = np.eye(count + 1)[owner][:, None]
    constants_s = time_constants_s[:, None]
    level = np.tile(np.eye(count + 1)[count], (runs, len(time_constants_s), 1))
    seconds = np.empty((runs, len(time_constants_s), segments, count + 1))
    with np.errstate(divide="ignore"):
        kept = np.exp(-length_s[:, None, :] / constants_s)
    for index in range(segments):
        before = level
        own = asked[:, :, index]
        level = own + (before - own) * kept[:, :, index, None]
        seconds[:, :, index] = own * length_s[:, None, index, None] + constants_s * (before - level)
    return seconds


def is_significant(residuals: Floats, free_count: float) -> bool:
    """Whether some time constant explains more than none, the first of these, does.

    Args:
        residuals: weighted sum of squares for each time constant.
        free_count: ticks less fitted levels.
    """
    least = float(residuals.min())
    if free_count <= 1:
        return False
    return bool((residuals[0] - least) * (free_count - 1) > SIGNIFICANT * least)


def around_best(residuals: Floats) -> Floats:
    """Time constants around the best of :data:`TIME_CONSTANTS_S`, to be tried next."""
    best = int(np.argmin(residuals))
    low_s = TIME_CONSTANTS_S[max(best - 1, 0)]
    high_s = TIME_CONSTANTS_S[min(best + 1, len(TIME_CONSTANTS_S) - 1)]
    return np.linspace(low_s, high_s, FINE_COUNT)


def lowest(residuals: Floats, constants_s: Floats) -> float:
    """The time constant at the bottom of a parabola through the least of evenly spaced ones."""
    best = int(np.clip(np.argmin(residuals), 1, len(residuals) - 2))
    low, middle, high = residuals[best - 1 : best + 2]
    bend = low - 2 * middle + high
    offset = float(np.clip(0.5 * (low - high) / bend, -1, 1)) if bend > 0 else 0.0
    return float(constants_s[best] + offset * (constants_s[1] - constants_s[0]))
