"""The ticks of many runs side by side: one call of numpy for all runs of one shape.

Each run's numbers are those that it would have alone, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .attribution import TickTable
from .response import Floats, alike, responses

MOST_RUNS = 512
"""Of a stack: its seconds take ``runs x constants x segments x columns`` numbers."""


@dataclass(frozen=True)
class Stack:
    """Runs with as many segments, and as many ticks, as each other.

    ``places`` says which runs they are. ``owner`` is the level of each segment, with that of rest
    last, after the ``count`` others. ``firsts`` is each tick's first segment.
    """

    places: NDArray[np.intp]
    count: int
    length_s: Floats
    tick: NDArray[np.intp]
    owner: NDArray[np.intp]
    firsts: NDArray[np.intp]
    energy_j: Floats

    def first(self, count: int) -> Stack:
        """Those of the first ``count`` runs of all."""
        if self.places[-1] < count:
            return self
        kept = self.places < count
        return replace(
            self,
            places=self.places[kept],
            length_s=self.length_s[kept],
            tick=self.tick[kept],
            owner=self.owner[kept],
            firsts=self.firsts[kept],
            energy_j=self.energy_j[kept],
        )

    def response(self, time_constants_s: Floats) -> Floats:
        """Seconds of each level, ``[runs, constants, segments, count + 1]``."""
        return responses(self.length_s, self.owner, self.count, time_constants_s)

    def by_tick(self, seconds: Floats) -> Floats:
        """Sums over the segments of each tick, ``[runs, x, segments, y]`` to ``[…, ticks, y]``."""
        runs, others, segments, columns = seconds.shape
        begins = np.arange(runs * others).reshape(runs, others, 1) * segments
        firsts = (begins + self.firsts[:, None, :]).ravel()
        sums = np.add.reduceat(seconds.reshape(-1, columns), firsts, axis=0)
        return np.asarray(sums.reshape(runs, others, -1, columns))

    @property
    def duration_s(self) -> Floats:
        """Of each tick, ``[runs, ticks]``."""
        return self.by_tick(self.length_s[:, None, :, None])[:, 0, :, 0]

    def sums(self, weights: Floats, time_constants_s: Floats) -> tuple[Floats, Floats, Floats]:
        """``[runs, constants, columns, columns]``, ``[runs, constants, columns]``, ``[runs]``."""
        seconds = self.by_tick(self.response(time_constants_s))
        across = weights[:, None, None, None] * np.swapaxes(seconds, 2, 3)
        moments = across @ self.energy_j[:, None, :, None]
        weighed = (weights[:, None] * self.energy_j)[:, None, :]
        squares = weighed @ self.energy_j[:, :, None]
        return across @ seconds, moments[..., 0], squares[:, 0, 0]

    def shares(
        self, part_count: int, constant_s: float, powers: Floats, energy_j: Floats | None
    ) -> tuple[Floats, Floats]:
        """Joules of each run's parts, ``[runs, parts]``, and their slopes in the levels.

        The parts are the first ``part_count`` levels; each run's sum to its ``energy_j``, if given.
        Where the ticks of all parts gained nothing, that is shared by the levels alone.
        """
        seconds = self.response(np.array([constant_s]))
        ticks = self.by_tick(seconds)[:, 0]
        seconds = seconds[:, 0]
        weights = seconds @ powers
        totals = self.by_tick(weights[:, None, :, None])[:, 0, :, 0]
        joules = weights * self._of_tick(self.energy_j / totals)
        part = np.swapaxes(np.eye(self.count + 1)[self.owner][..., :part_count], 1, 2)
        totals = ticks @ powers
        per_level = np.take_along_axis(ticks / totals[..., None], self.tick[..., None], axis=1)
        slope = self._of_tick(self.energy_j / totals)[..., None] * seconds
        slope = slope - joules[..., None] * per_level
        sums, turns = (part @ joules[..., None])[..., 0], part @ slope
        if energy_j is None:
            return sums, turns
        is_still = sums.sum(axis=1) == 0
        sums[is_still] = (part @ weights[..., None])[is_still, :, 0]
        turns[is_still] = (part @ seconds)[is_still]
        whole_j = sums.sum(axis=1)
        whole_j[whole_j == 0] = np.inf  # parts without length
        falls = sums[..., None] * turns.sum(axis=1)[:, None, :]
        turns = turns / whole_j[:, None, None] - falls / (whole_j * whole_j)[:, None, None]
        return sums * (energy_j / whole_j)[:, None], energy_j[:, None, None] * turns

    def _of_tick(self, values: Floats) -> Floats:
        """For each segment the value of its tick."""
        return np.take_along_axis(values, self.tick, axis=1)


def stacked(tables: Sequence[TickTable], names: Mapping[str, int]) -> Iterator[Stack]:
    """All tables, in stacks; ``names`` numbers the levels of their intervals from 0 on."""
    count = len(names)
    for places in alike((t.names, len(t.segments.tick), len(t.energy_j)) for t in tables):
        levels = [*(names[name] for name in tables[places[0]].names), count]
        columns = np.array(levels, dtype=np.intp)
        for first in range(0, len(places), MOST_RUNS):
            own = places[first : first + MOST_RUNS]
            chosen = [tables[place] for place in own]
            tick = np.stack([table.segments.tick for table in chosen])
            is_first = np.diff(tick, axis=1, prepend=-1) != 0
            yield Stack(
                np.array(own),
                count,
                np.stack([table.segments.length_s for table in chosen]),
                tick,
                columns[np.stack([table.segments.interval for table in chosen])],
                np.nonzero(is_first)[1].reshape(len(own), -1),
                np.stack([table.energy_j for table in chosen]).astype(float),
            )
