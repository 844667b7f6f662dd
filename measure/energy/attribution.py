"""Energy of each phase from what a meter can give: slow counter ticks, or samples of power.

A phase is often shorter than the counter's tick (about 100 ms on NVIDIA boards), so the difference
of the counter at its borders says little. Instead, one power per phase is fitted to all ticks by
non-negative least squares, and each tick's energy is then shared among the phases that it overlaps,
in proportion to fitted power times overlap. Ticks that lie wholly within one phase stay exactly as
they were counted, so phases sum to the whole by construction.

The fit may take the ticks of one run, or of many runs that were made alike: :mod:`.pooling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ...records import CounterSample, PowerSample
from ..recording.packed import Packed
from .response import (
    TIME_CONSTANTS_S,
    Floats,
    Segments,
    alike,
    around_best,
    is_significant,
    lowest,
)

LEAST_POWER = 1e-9
"""Least power of the fit, as a part of the mean: a tick that a single phase fills goes to it,
whatever the board's calmest tick was."""

LEAST_ERROR_S = 1e-5
"""A tick's time is never taken to be known better than this."""

STANDS_STILL = "the energy counter did not advance during the run"


@dataclass(frozen=True)
class Interval:
    """A stretch of time; equal names share one power in the fit."""

    name: str
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class TickTable:
    """The ticks of one run against its intervals; ``energy_j`` is what the counter gained in each.

    What a tick has besides the intervals (before, between and after them) is rest. ``names`` are
    the intervals', ``tick_s`` is the median of the ticks' lengths.
    """

    names: tuple[str, ...]
    segments: Segments
    energy_j: Floats
    tick_s: float

    @property
    def duration_s(self) -> Floats:
        """Of each tick."""
        return self.segments.by_tick(self.segments.length_s[:, None])[:, 0]

    @property
    def calmest_w(self) -> float:
        """Mean power of the tick that gained least: what the board draws at rest, or more."""
        return float((self.energy_j / self.duration_s).min())

    def response(self, names: Sequence[str], time_constants_s: Floats) -> Floats:
        """Seconds of each name in each segment, ``[constants, segments, names + 1]``; rest last."""
        number = {name: index for index, name in enumerate(names)}
        columns = [number[name] for name in self.names]
        return self.segments.response(columns, len(names), time_constants_s)

    def shares(self, seconds: Floats, powers: Floats) -> Floats:
        """Joules of each segment: each tick's energy in proportion to the power that was fitted."""
        weights = seconds @ powers
        totals = self.segments.by_tick(weights[:, None])[:, 0]
        return np.asarray(weights * (self.energy_j / totals)[self.segments.tick])


def tabulate(ticks: Sequence[CounterSample], intervals: Sequence[Interval]) -> TickTable:
    """Lay ticks over intervals; of the ticks before and after these, one each.

    The rest is taken to have one power, which holds for a tick of it and not for what went on long
    before.

    Raises:
        ValueError: fewer than two ticks, ticks that do not reach around the intervals or are not in
            order of time, or a counter that runs backwards or stands still.
    """
    names = tuple(interval.name for interval in intervals)
    starts_s = np.array([[interval.start_s for interval in intervals]])
    ends_s = np.array([[interval.end_s for interval in intervals]])
    [table] = tabulate_runs([ticks], names, starts_s, ends_s)
    if isinstance(table, str):
        raise ValueError(table)
    return table


def tabulate_runs(
    ticks: Sequence[Sequence[CounterSample]],
    names: tuple[str, ...],
    starts_s: Floats,
    ends_s: Floats,
) -> list[TickTable | str]:
    """As :func:`tabulate`, of many runs at once; instead of a table what it would raise.

    Args:
        ticks: of each run.
        names: of the intervals, in all runs the same.
        starts_s: of the intervals, ``[runs, intervals]``.
        ends_s: the same.
    """
    found: list[TickTable | str] = [STANDS_STILL] * len(ticks)
    for places in alike(map(len, ticks)):
        if len(ticks[places[0]]) > 1:
            samples = np.stack([_numbers(ticks[place]) for place in places])
            tables = _tables(names, samples, starts_s[places], ends_s[places])
            for place, table in zip(places, tables, strict=True):
                found[place] = table
    return found


def _numbers(ticks: Sequence[CounterSample]) -> Floats:
    """Times and values of ticks, ``[ticks, 2]``."""
    if isinstance(ticks, Packed):
        return np.frombuffer(ticks.numbers).reshape(-1, 2)
    return np.fromiter(chain.from_iterable(ticks), float, 2 * len(ticks)).reshape(-1, 2)


def _tables(
    names: tuple[str, ...], samples: Floats, starts_s: Floats, ends_s: Floats
) -> list[TickTable | str]:
    """As :func:`tabulate_runs`, of runs with as many ticks, ``[runs, ticks, 2]``."""
    times, energies_j = samples[..., 0], samples[..., 1]
    faults = {
        "the energy counter ran backwards (reset or wrapped) during the run": (
            np.diff(energies_j, axis=1) < 0
        ).any(axis=1),
        "the energy counter's ticks are not in order of time": (np.diff(times, axis=1) <= 0).any(
            axis=1
        ),
        "the energy counter's ticks do not reach around the run": (
            (times[:, 0] > starts_s.min(axis=1)) | (times[:, -1] < ends_s.max(axis=1))
        ),
    }
    firsts = np.maximum((times <= starts_s[:, :1]).sum(axis=1) - 2, 0)
    lasts = np.minimum((times < ends_s[:, -1:]).sum(axis=1) + 1, times.shape[1] - 1)
    found: list[TickTable | str] = [""] * len(samples)
    for fault, has_it in faults.items():
        for place in np.flatnonzero(has_it):
            found[place] = found[place] or fault
    good = np.array([place for place, fault in enumerate(found) if not fault], dtype=np.intp)
    for group in alike((lasts - firsts)[good].tolist()):
        places = good[group]
        columns = firsts[places, None] + np.arange(lasts[places[0]] - firsts[places[0]] + 1)
        own_s = np.take_along_axis(times[places], columns, axis=1)
        own_j = np.take_along_axis(energies_j[places], columns, axis=1)
        segments = Segments.of_runs(own_s, starts_s[places], ends_s[places])
        gained_j = np.diff(own_j, axis=1)
        ticks_s = np.median(np.diff(own_s, axis=1), axis=1).tolist()
        gains = np.any(gained_j, axis=1)
        rows = zip(places, segments, gained_j, ticks_s, strict=True)
        for (place, one, joules, tick_s), is_good in zip(rows, gains, strict=True):
            found[place] = TickTable(names, one, joules, tick_s) if is_good else STANDS_STILL
    return found


def share_ticks(
    ticks: Sequence[CounterSample],
    intervals: Sequence[Interval],
    tick_error_s: float,
    time_constant_s: float | None = None,
) -> list[float]:
    """Joules of each interval, from counter ticks that span them all.

    Args:
        ticks: the counter's value at each of its ticks, in order of time.
        intervals: in order of time, without overlap. What lies between and around them counts as
            one more interval of the fit, and its energy goes to none of them.
        tick_error_s: how well the time of a tick is known. The power of an interval that is
            shorter than this cannot be told, and is drawn towards the mean power.
        time_constant_s: of the board's response (:mod:`.response`); fitted where it is ``None``.

    Raises:
        ValueError: see :func:`tabulate`.
    """
    table = tabulate(ticks, intervals)
    names = list(dict.fromkeys(interval.name for interval in intervals))
    mean_power_w = float(table.energy_j.sum() / table.duration_s.sum())

    def fit(constants_s: Floats) -> tuple[Floats, list[Floats], Floats]:
        seconds = table.response(names, constants_s)
        by_tick = table.segments.by_tick(seconds)
        fits = [
            solve_powers(m.T @ m, m.T @ table.energy_j, mean_power_w, table.calmest_w, tick_error_s)
            for m in by_tick
        ]
        errors = [m @ p - table.energy_j for m, p in zip(by_tick, fits, strict=True)]
        return seconds, fits, np.array([error @ error for error in errors])

    if time_constant_s is None:
        time_constant_s, residuals = 0.0, fit(TIME_CONSTANTS_S)[2]
        if is_significant(residuals, len(table.energy_j) - len(names) - 1):
            constants_s = around_best(residuals)
            time_constant_s = lowest(fit(constants_s)[2], constants_s)
    seconds, fits, _ = fit(np.array([time_constant_s]))
    shares = table.shares(seconds[0], fits[0])
    inside = table.segments.interval >= 0
    return [
        float(value)
        for value in np.bincount(
            table.segments.interval[inside], shares[inside], minlength=len(intervals)
        )
    ]


def solve_powers(
    gram: Floats, moment: Floats, mean_power_w: float, least_power_w: float, tick_error_s: float
) -> Floats:
    """Watts per column: least squares on ``seconds @ powers = energy``, from ``least_power_w`` up.

    A timing error dt of a tick is an energy error of mean power * dt. Against that stands a prior:
    powers differ from the mean by about the mean. It decides where the ticks do not. A board that
    is switched on draws power, so no phase is fitted below its calmest tick: a short one would
    else come out as nothing whenever the noise of two ticks says so.

    Args:
        gram: ``seconds.T @ seconds``, ``[..., columns, columns]``, s².
        moment: ``seconds.T @ energy``, ``[..., columns]``, J s; what stands before is solved apart.
    """
    prior = max(tick_error_s, LEAST_ERROR_S) ** 2
    gram_and_prior = gram + prior * np.eye(gram.shape[-1])
    above = moment - gram.sum(axis=-1) * least_power_w + prior * (mean_power_w - least_power_w)
    solution = np.linalg.solve(gram_and_prior, above[..., None])[..., 0]
    is_negative = solution.min(axis=-1) < 0
    for place in np.ndindex(is_negative.shape) if is_negative.any() else ():
        if is_negative[place]:
            solution[place] = _non_negative(gram_and_prior[place], above[place])
    return np.maximum(least_power_w + solution, mean_power_w * LEAST_POWER)


def _non_negative(gram: Floats, moment: Floats) -> Floats:
    """Least squares whose free solution is negative somewhere, with none below 0."""
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    factor = np.linalg.cholesky(gram)
    solution, _ = nnls(factor.T, solve_triangular(factor, moment, lower=True))
    return np.asarray(solution)


def integrate(samples: Sequence[PowerSample], start_s: float, end_s: float) -> float:
    """Joules between two times, each sample holding until the next one.

    Raises:
        ValueError: no sample at or before ``start_s``.
    """
    if not samples or samples[0].t_s > start_s:
        raise ValueError("no power sample reaches back to the start of the run")
    ends_s = [*(sample.t_s for sample in samples[1:]), max(end_s, samples[-1].t_s)]
    return sum(
        sample.power_w * max(0.0, min(until_s, end_s) - max(sample.t_s, start_s))
        for sample, until_s in zip(samples, ends_s, strict=True)
    )
