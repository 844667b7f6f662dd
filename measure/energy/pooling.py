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
pooled estimate.

What a run drew altogether is part of the estimate: a dozen ticks of one run tell it worse than all
of them do, and alike in all runs, so that phases that had to sum to it would be off by more than
their interval.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ...records import CounterSample
from .attribution import Interval, TickTable, solve_powers, tabulate
from .response import TIME_CONSTANTS_S, Floats, around_best, is_significant, lowest
from .stacks import stacked

BORDER_ERROR_S = 1e-3
"""Phases' borders are not known better than this, however well the ticks are."""

MOST_CONSTANT_RUNS = 200
"""So many runs tell the time constant of a board."""

CONSTANT_STEP, LEAST_STEP_S = 0.05, 5e-4
"""By which the shares' dependence on the time constant is found."""


TICKS_PER_LEVEL, CHANCE = 2, 1e-4
"""A finer fit needs so many ticks for each of its levels, and to be better by more than chance."""


@dataclass(frozen=True, slots=True)
class TickedRun:
    """A run as the counter saw it; ``energy_j`` is what its parts are known to sum to, if it is."""

    table: TickTable
    tick_error_s: float
    energy_j: float | None = None

    @classmethod
    def of(
        cls,
        ticks: Sequence[CounterSample],
        intervals: Sequence[Interval],
        tick_error_s: float,
        energy_j: float | None = None,
    ) -> TickedRun:
        """Lay the ticks over the intervals, which are in order of time and do not overlap.

        Raises:
            ValueError: see :func:`.attribution.tabulate`.
        """
        return cls(tabulate(ticks, intervals), tick_error_s, energy_j)


def pool(
    runs: Sequence[TickedRun], parts: Sequence[str], time_constant_s: float | None = None
) -> Floats:
    """Joules of each part in each run, as jackknife pseudo-values, ``[runs, parts]``.

    Args:
        runs: made alike: intervals of one name have the same power in all of them.
        parts: names of intervals. They sum to each run's ``energy_j`` where all runs have one;
            intervals of other names take part in the fit and are left out of the sum.
        time_constant_s: of the board's response (:mod:`.response`); fitted where it is ``None``.

    Raises:
        ValueError: no runs.
    """
    return Pool(runs, parts, time_constant_s).values()


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
        seen = dict.fromkeys(run.table.names for run in runs)
        names = dict.fromkeys([*parts, *chain.from_iterable(seen)])
        self._count = len(names)
        number = {name: index for index, name in enumerate(names)}
        self._stacks = list(stacked([run.table for run in runs], number))
        errors_s = [max(run.tick_error_s, BORDER_ERROR_S) for run in runs]
        self._tick_error_s = min(errors_s)
        self._weights = np.array([(self._tick_error_s / error_s) ** 2 for error_s in errors_s])
        wholes = [run.energy_j for run in runs]
        self._energy_j = None if None in wholes else np.array(wholes, dtype=float)
        self._tick_count = sum(len(run.table.energy_j) for run in runs)
        self._set_powers()
        self._moves_s = np.zeros(len(runs))
        if time_constant_s is None:
            time_constant_s, self._moves_s = self._find_constant()
        self.constant_s = time_constant_s
        grams, moments, squares = self._sums(np.array([time_constant_s]))
        self._square = float(squares.sum())
        self._grams, self._moments = grams[:, 0], moments[:, 0]
        self._gram, self._moment = self._grams.sum(axis=0), self._moments.sum(axis=0)
        self._powers = self._solve(self._gram, self._moment)

    def _set_powers(self) -> None:
        """The mean power of all ticks, and that of the calmest one."""
        joules, seconds = np.empty(len(self._runs)), np.empty(len(self._runs))
        calmest_w = []
        for stack in self._stacks:
            duration_s = stack.duration_s
            joules[stack.places] = stack.energy_j.sum(axis=1)
            seconds[stack.places] = duration_s.sum(axis=1)
            calmest_w.append((stack.energy_j / duration_s).min())
        self._mean_power_w = sum(joules.tolist()) / sum(seconds.tolist())
        self._calmest_w = float(min(calmest_w))

    def values(self) -> Floats:
        """Joules of each part in each run, as jackknife pseudo-values, ``[runs, parts]``."""
        shares, slopes = self._share(self.constant_s, self._powers)
        count, whole = len(self._runs), shares.mean(axis=0)
        if count == 1:
            return np.asarray(whole[None, :])
        return np.asarray(count * whole - (count - 1) * self._means_without(shares, slopes))

    @property
    def spare_levels(self) -> int:
        """How many levels more the ticks could tell."""
        return self._tick_count // TICKS_PER_LEVEL - self._count

    def explains_more_than(self, coarser: Pool) -> bool:
        """Whether more levels fit the same ticks better than chance would let them (F test)."""
        from scipy.special import fdtrc

        more = self._count - coarser._count
        free = self._tick_count - self._count - 1
        gain = (coarser._residual - self._residual) / more
        return bool(fdtrc(more, free, gain * free / self._residual) < CHANCE)

    @property
    def _residual(self) -> float:
        """Weighted sum of squares of what the levels leave open."""
        (residual,) = self._residuals(
            self._gram[None], self._moment[None], np.array([self._square])
        )
        return max(float(residual), sys.float_info.min)

    def _means_without(self, shares: Floats, slopes: Floats) -> Floats:
        """Mean joules of each part over all runs but one, by the fit without it, for each run."""
        powers = self._solve(self._gram - self._grams, self._moment - self._moments)
        slopes = slopes.sum(axis=0) - slopes
        total = shares.sum(axis=0) - shares
        total = total + (slopes @ (powers - self._powers)[..., None])[..., 0]
        if self._moves_s.any():
            bends = self._bends(shares)
            total = total + (bends.sum(axis=0) - bends) * self._moves_s[:, None]
        return np.asarray(total / (len(self._runs) - 1))

    def _bends(self, shares: Floats) -> Floats:
        """How the shares change with the time constant, in joules a second."""
        other_s = self.constant_s + max(CONSTANT_STEP * self.constant_s, LEAST_STEP_S)
        grams, moments, _ = self._sums(np.array([other_s]))
        powers = self._solve(grams[:, 0].sum(axis=0), moments[:, 0].sum(axis=0))
        others, _ = self._share(other_s, powers)
        return np.asarray((others - shares) / (other_s - self.constant_s))

    def _find_constant(self) -> tuple[float, Floats]:
        """The time constant, and how far it moves without each run; of some runs, if of many."""
        moves_s = np.zeros(len(self._runs))
        grams, moments, squares = self._sums(TIME_CONSTANTS_S, MOST_CONSTANT_RUNS)
        residuals = self._residuals(grams.sum(axis=0), moments.sum(axis=0), squares.sum())
        tick_count = sum(len(run.table.energy_j) for run in self._runs[: len(grams)])
        if not is_significant(residuals, tick_count - self._count - 1):
            return 0.0, moves_s
        constants_s = around_best(residuals)
        grams, moments, squares = self._sums(constants_s, MOST_CONSTANT_RUNS)
        gram, moment, square = grams.sum(axis=0), moments.sum(axis=0), squares.sum()
        whole_s = lowest(self._residuals(gram, moment, square), constants_s)
        if len(grams) > 1:
            without = self._residuals(gram - grams, moment - moments, (square - squares)[:, None])
            moves_s[: len(grams)] = [lowest(own, constants_s) - whole_s for own in without]
        return whole_s, moves_s

    def _residuals(self, grams: Floats, moments: Floats, squares: Floats) -> Floats:
        """Weighted sums of squares, one for each time constant."""
        powers = self._solve(grams, moments)
        across, down = powers[..., None, :], powers[..., None]
        met = (2 * moments[..., None, :]) @ down
        return np.asarray(squares - met[..., 0, 0] + (across @ grams @ down)[..., 0, 0])

    def _sums(self, constants_s: Floats, most: int | None = None) -> tuple[Floats, Floats, Floats]:
        """As :meth:`.stacks.Stack.sums`, of the first ``most`` runs, in their order."""
        count = len(self._runs[:most])
        size = self._count + 1
        grams = np.empty((count, len(constants_s), size, size))
        moments, squares = np.empty((count, len(constants_s), size)), np.empty(count)
        for stack in self._stacks:
            wanted = stack.first(count)
            if len(wanted.places):
                found = wanted.sums(self._weights[wanted.places], constants_s)
                for target, values in zip((grams, moments, squares), found, strict=True):
                    target[wanted.places] = values
        return grams, moments, squares

    def _solve(self, gram: Floats, moment: Floats) -> Floats:
        return solve_powers(gram, moment, self._mean_power_w, self._calmest_w, self._tick_error_s)

    def _share(self, constant_s: float, powers: Floats) -> tuple[Floats, Floats]:
        """As :meth:`.stacks.Stack.shares`, of all runs, in their order."""
        shares = np.empty((len(self._runs), self._part_count))
        slopes = np.empty((*shares.shape, self._count + 1))
        for stack in self._stacks:
            energy_j = None if self._energy_j is None else self._energy_j[stack.places]
            found = stack.shares(self._part_count, constant_s, powers, energy_j)
            shares[stack.places], slopes[stack.places] = found
        return shares, slopes
