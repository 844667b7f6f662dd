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
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...records import CounterSample
from .attribution import Interval, TickTable, solve_powers, tabulate
from .response import TIME_CONSTANTS_S, Floats, around_best, is_significant, lowest

BORDER_ERROR_S = 1e-3
"""Phases' borders are not known better than this, however well the ticks are."""

MOST_CONSTANT_RUNS = 200
"""So many runs tell the time constant of a board."""

CONSTANT_STEP, LEAST_STEP_S = 0.05, 5e-4
"""By which the shares' dependence on the time constant is found."""


TICKS_PER_LEVEL, CHANCE = 2, 1e-4
"""A finer fit needs so many ticks for each of its levels, and to be better by more than chance."""


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


def pool(
    runs: Sequence[TickedRun], parts: Sequence[str], time_constant_s: float | None = None
) -> Floats:
    """Joules of each part in each run, as jackknife pseudo-values, ``[runs, parts]``.

    Args:
        runs: made alike: intervals of one name have the same power in all of them.
        parts: names of intervals. They sum to each run's ``energy_j``; intervals of other names
            take part in the fit and are left out of the sum.
        time_constant_s: of the board's response (:mod:`.response`); fitted where it is ``None``.

    Raises:
        ValueError: no runs.
    """
    return Pool(runs, parts, time_constant_s).values()


def time_constant_s(runs: Sequence[TickedRun], parts: Sequence[str]) -> float:
    """That of the board's response, as the fit of :func:`pool` finds it; in seconds."""
    return Pool(runs, parts, None).constant_s


class Pool:
    """The fit to the ticks of all runs, and what the fit without each of them differs in.

    Arguments and what it raises are those of :func:`pool`. ``constant_s`` is the time constant of
    the board's response.

    Without a run levels and time constant change little, so what that does to the shares is taken
    to be linear in the change: the cost is that of one fit, and grows with the number of runs.
    """

    def __init__(
        self,
        runs: Sequence[TickedRun],
        parts: Sequence[str],
        time_constant_s: float | None = None,
    ) -> None:
        if not runs:
            raise ValueError("no runs to pool")
        self._runs, self._part_count = runs, len(parts)
        self._names = list(
            dict.fromkeys([*parts, *(i.name for run in runs for i in run.intervals)])
        )
        errors_s = [max(run.tick_error_s, BORDER_ERROR_S) for run in runs]
        self._tick_error_s = min(errors_s)
        self._weights = np.array([(self._tick_error_s / error_s) ** 2 for error_s in errors_s])
        self._mean_power_w = sum(float(run.table.energy_j.sum()) for run in runs) / sum(
            float(run.table.duration_s.sum()) for run in runs
        )
        self._calmest_w = min(run.table.calmest_w for run in runs)
        count = len(runs)
        self._moves_s = np.zeros(count)
        if time_constant_s is None:
            time_constant_s, self._moves_s = self._find_constant()
        self.constant_s = time_constant_s
        grams, moments, squares = self._sums(np.array([time_constant_s]))
        self._square = float(squares.sum())
        self._grams, self._moments = grams[:, 0], moments[:, 0]
        self._gram, self._moment = self._grams.sum(axis=0), self._moments.sum(axis=0)
        self._powers = self._solve(self._gram, self._moment)
        self.shares, self._slopes = self._share(time_constant_s, self._powers)
        self._bends = np.zeros_like(self.shares)
        if self._moves_s.any():
            other_s = time_constant_s + max(CONSTANT_STEP * time_constant_s, LEAST_STEP_S)
            grams, moments, _ = self._sums(np.array([other_s]))
            powers = self._solve(grams[:, 0].sum(axis=0), moments[:, 0].sum(axis=0))
            shares, _ = self._share(other_s, powers)
            self._bends = (shares - self.shares) / (other_s - time_constant_s)
        self._slope, self._bend = self._slopes.sum(axis=0), self._bends.sum(axis=0)

    def values(self) -> Floats:
        """Joules of each part in each run, as jackknife pseudo-values, ``[runs, parts]``."""
        count, whole = len(self._runs), self.shares.mean(axis=0)
        if count == 1:
            return np.asarray(whole[None, :])
        return np.stack([count * whole - (count - 1) * self.mean_without(i) for i in range(count)])

    def explains_more_than(self, coarser: Pool) -> bool:
        """Whether more levels fit the same ticks better than chance would let them (F test)."""
        from scipy.stats import f

        tick_count = sum(len(run.table.energy_j) for run in self._runs)
        more = len(self._names) - len(coarser._names)
        free = tick_count - len(self._names) - 1
        if more < 1 or tick_count < TICKS_PER_LEVEL * len(self._names):
            return False
        gain = (coarser._residual - self._residual) / more
        return bool(f.sf(gain * free / self._residual, more, free) < CHANCE)

    @property
    def _residual(self) -> float:
        """Weighted sum of squares of what the levels leave open."""
        (residual,) = self._residuals(self._gram[None], self._moment[None], self._square)
        return max(float(residual), sys.float_info.min)

    def mean_without(self, out: int) -> Floats:
        """Mean joules of each part over all runs but ``out``, by the fit without it."""
        powers = self._solve(self._gram - self._grams[out], self._moment - self._moments[out])
        total = self.shares.sum(axis=0) - self.shares[out]
        total = total + (self._slope - self._slopes[out]) @ (powers - self._powers)
        total = total + (self._bend - self._bends[out]) * self._moves_s[out]
        return np.asarray(total / (len(self._runs) - 1))

    def _find_constant(self) -> tuple[float, Floats]:
        """The time constant, and how far it moves without each run; of some runs, if of many."""
        moves_s = np.zeros(len(self._runs))
        grams, moments, squares = self._sums(TIME_CONSTANTS_S, MOST_CONSTANT_RUNS)
        residuals = self._residuals(grams.sum(axis=0), moments.sum(axis=0), squares.sum())
        tick_count = sum(len(run.table.energy_j) for run in self._runs[: len(grams)])
        if not is_significant(residuals, tick_count - len(self._names) - 1):
            return 0.0, moves_s
        constants_s = around_best(residuals)
        grams, moments, squares = self._sums(constants_s, MOST_CONSTANT_RUNS)
        gram, moment, square = grams.sum(axis=0), moments.sum(axis=0), squares.sum()
        whole_s = lowest(self._residuals(gram, moment, square), constants_s)
        if len(grams) > 1:
            moves_s[: len(grams)] = [
                lowest(self._residuals(gram - g, moment - m, square - s), constants_s) - whole_s
                for g, m, s in zip(grams, moments, squares, strict=True)
            ]
        return whole_s, moves_s

    def _residuals(self, gram: Floats, moment: Floats, square: float) -> Floats:
        """Weighted sums of squares, one for each time constant."""
        fits = [self._solve(g, m) for g, m in zip(gram, moment, strict=True)]
        return np.array(
            [
                square - 2 * m @ powers + powers @ g @ powers
                for g, m, powers in zip(gram, moment, fits, strict=True)
            ]
        )

    def _sums(self, constants_s: Floats, most: int | None = None) -> tuple[Floats, Floats, Floats]:
        """``[runs, constants, columns, columns]``, ``[runs, constants, columns]``, ``[runs]``."""
        grams, moments, squares = [], [], []
        for run, weight in zip(self._runs[:most], self._weights, strict=False):
            table = run.table
            seconds = table.segments.by_tick(table.response(self._names, constants_s))
            across = np.swapaxes(seconds, 1, 2)
            grams.append(weight * across @ seconds)
            moments.append(weight * across @ table.energy_j)
            squares.append(weight * table.energy_j @ table.energy_j)
        return np.stack(grams), np.stack(moments), np.array(squares)

    def _solve(self, gram: Floats, moment: Floats) -> Floats:
        return solve_powers(gram, moment, self._mean_power_w, self._calmest_w, self._tick_error_s)

    def _share(self, constant_s: float, powers: Floats) -> tuple[Floats, Floats]:
        """Joules of each run's parts, ``[runs, parts]``, and their slopes in the levels."""
        shares, slopes = [], []
        number = {name: index for index, name in enumerate(self._names)}
        for run in self._runs:
            table, segments = run.table, run.table.segments
            seconds = table.response(self._names, np.array([constant_s]))[0]
            columns = np.array([*(number[i.name] for i in run.intervals), len(self._names)])
            part = np.eye(len(self._names) + 1)[columns[segments.interval]][:, : self._part_count]
            joules = table.shares(seconds, powers)
            ticks = segments.by_tick(seconds)
            totals = ticks @ powers
            scale = (table.energy_j / totals)[segments.tick]
            slope = scale[:, None] * seconds - (
                joules[:, None] * (ticks / totals[:, None])[segments.tick]
            )
            sums, turns = part.T @ joules, part.T @ slope
            whole_j = sums.sum()
            shares.append(sums * (run.energy_j / whole_j))
            turns = turns / whole_j - np.outer(sums, turns.sum(axis=0)) / whole_j**2
            slopes.append(run.energy_j * turns)
        return np.stack(shares), np.stack(slopes)
