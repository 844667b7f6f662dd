"""Energy of phases and steps pooled over repeats, with its spread.

One run of a few ticks tells little of a phase that is shorter than a tick. Runs that were made
alike have the same powers and meet the ticks at different points, so one power per name is fitted
to the ticks of all of them (:mod:`.attribution`), and every run's ticks are shared by it. A run
counts by how well its ticks are timed: the first one in a process, in which the counter's rhythm is
not known yet, counts for little.

The fit is common to all runs, so the scatter of the runs' shares hides its error. The spread is
therefore the jackknife's: the fit is repeated without each run in turn, and run i has the
pseudo-value n * (all) - (n - 1) * (all but i) (Tukey 1958; Efron and Tibshirani, An Introduction to
the Bootstrap, 1993, chapter 11). Mean and Student-t interval of the pseudo-values are those of the
pooled estimate. In every run they sum to that run's energy.

Exactly, each run left out means sharing the ticks of all others anew, which is quadratic in runs.
From :data:`EXACT_RUNS` on the others' shares follow the powers to first order, which is linear: one
run out of so many moves the powers by so little that the next order cannot be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...records import CounterSample
from .attribution import Floats, Interval, TickTable, solve_powers, tabulate

BORDER_ERROR_S = 1e-3
"""Phases' borders are not known better than this, however well the ticks are."""

EXACT_RUNS = 100
"""So many runs, or fewer, are each left out exactly."""


@dataclass(frozen=True)
class TickedRun:
    """A run as the counter saw it; ``energy_j`` is what its parts are known to sum to."""

    intervals: Sequence[Interval]
    table: TickTable
    tick_error_s: float
    energy_j: float

    @classmethod
    def of(
        cls,
        ticks: Sequence[CounterSample],
        intervals: Sequence[Interval],
        tick_error_s: float,
        energy_j: float,
    ) -> TickedRun:
        """Lay the ticks over the intervals, which are in order of time and do not overlap.

        Raises:
            ValueError: see :func:`.attribution.tabulate`.
        """
        return cls(intervals, tabulate(ticks, intervals), tick_error_s, energy_j)


def pool(runs: Sequence[TickedRun], parts: Sequence[str]) -> Floats:
    """Joules of each part in each run, as jackknife pseudo-values, ``[runs, parts]``.

    Args:
        runs: made alike: intervals of one name have the same power in all of them.
        parts: names of intervals. They sum to each run's ``energy_j``; intervals of other names
            take part in the fit and are left out of the sum.

    Raises:
        ValueError: no runs.
    """
    if not runs:
        raise ValueError("no runs to pool")
    pooled, count = _Pool(runs, parts), len(runs)
    powers = pooled.powers(None)
    shares = pooled.shares(powers)
    if count == 1:
        return shares
    whole = shares.mean(axis=0)
    others = pooled.others_exactly if count <= EXACT_RUNS else pooled.others_to_first_order
    return count * whole - (count - 1) * others(powers, shares)


class _Pool:
    """The ticks of all runs, one below the other, and what the fit needs of each run."""

    def __init__(self, runs: Sequence[TickedRun], parts: Sequence[str]) -> None:
        names = [*parts, *(i.name for run in runs for i in run.intervals)]
        self._names = list(dict.fromkeys(names))
        self._part_count = len(parts)
        seconds = [run.table.by_name(run.intervals, self._names) for run in runs]
        energies = [run.table.energy_j for run in runs]
        self._seconds, self._energy_j = np.concatenate(seconds), np.concatenate(energies)
        self._tick_counts = [len(rows) for rows in seconds]
        self._first_rows = np.cumsum([0, *self._tick_counts[:-1]])
        errors_s = [max(run.tick_error_s, BORDER_ERROR_S) for run in runs]
        self._tick_error_s = min(errors_s)
        weights = [(self._tick_error_s / error_s) ** 2 for error_s in errors_s]
        self._grams = np.stack([w * s.T @ s for w, s in zip(weights, seconds, strict=True)])
        self._moments = np.stack(
            [w * s.T @ e for w, s, e in zip(weights, seconds, energies, strict=True)]
        )
        self._gram, self._moment = self._grams.sum(axis=0), self._moments.sum(axis=0)
        self._totals = np.array([run.energy_j for run in runs])
        self._mean_power_w = float(self._energy_j.sum() / self._seconds.sum())
        self._calmest_w = min(run.table.calmest_w for run in runs)

    def powers(self, out: int | None) -> Floats:
        """Watts of each name over all runs, or over all but run ``out``."""
        gram, moment = self._gram, self._moment
        if out is not None:
            gram, moment = gram - self._grams[out], moment - self._moments[out]
        return solve_powers(gram, moment, self._mean_power_w, self._calmest_w, self._tick_error_s)

    def shares(self, powers: Floats) -> Floats:
        """Joules of each part in each run, ``[runs, parts]``, its ticks shared by ``powers``."""
        shares = np.add.reduceat(self._tick_shares(powers), self._first_rows)
        return np.asarray(shares * (self._totals / shares.sum(axis=1))[:, None])

    def others_exactly(self, powers: Floats, shares: Floats) -> Floats:
        """For each run the mean joules of the parts over all others, by the others' powers."""
        runs = range(len(shares))
        return np.stack(
            [np.delete(self.shares(self.powers(out)), out, axis=0).mean(axis=0) for out in runs]
        )

    def others_to_first_order(self, powers: Floats, shares: Floats) -> Floats:
        """As :meth:`others_exactly`, by the slope of the shares at the powers of all."""
        changes = np.stack([self.powers(out) for out in range(len(shares))]) - powers
        slopes = [self._slope(powers, unit).sum(axis=0) for unit in np.eye(len(powers))]
        own = self._slope(powers, np.repeat(changes, self._tick_counts, axis=0))
        sums = shares.sum(axis=0) - shares + changes @ np.stack(slopes) - own
        return np.asarray(sums / (len(shares) - 1))

    def _slope(self, powers: Floats, change: Floats) -> Floats:
        """What :meth:`shares` gain where powers gain ``change``, in each tick or in all alike."""
        weights, gained = self._seconds * powers, self._seconds * change
        total, total_gained = weights.sum(axis=1), gained.sum(axis=1)
        parts = slice(self._part_count)
        ticks = gained[:, parts] - weights[:, parts] * (total_gained / total)[:, None]
        found = np.add.reduceat(ticks * (self._energy_j / total)[:, None], self._first_rows)
        shares = np.add.reduceat(self._tick_shares(powers), self._first_rows)
        sums = shares.sum(axis=1)[:, None]
        held = found - shares / sums * found.sum(axis=1)[:, None]
        return np.asarray(held / sums * self._totals[:, None])

    def _tick_shares(self, powers: Floats) -> Floats:
        weights = self._seconds * powers
        scale = self._energy_j / weights.sum(axis=1)
        return weights[:, : self._part_count] * scale[:, None]
