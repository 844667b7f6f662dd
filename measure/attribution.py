"""Energy of each phase from what a meter can give: slow counter ticks, or samples of power.

A phase is often shorter than the counter's tick (about 100 ms on NVIDIA boards), so the difference
of the counter at its borders says little. Instead, one power per phase is fitted to all ticks by
non-negative least squares, and each tick's energy is then shared among the phases that it overlaps,
in proportion to fitted power times overlap. Ticks that lie wholly within one phase stay exactly as
they were counted, so phases sum to the whole by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .records import CounterSample, PowerSample

LEAST_POWER = 1e-9
"""Least power of the fit, as a part of the mean: a tick that a single phase fills goes to it."""


@dataclass(frozen=True)
class Interval:
    """A stretch of time; equal names share one power in the fit."""

    name: str
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def share_ticks(
    ticks: Sequence[CounterSample], intervals: Sequence[Interval], tick_error_s: float
) -> list[float]:
    """Joules of each interval, from counter ticks that span them all.

    Args:
        ticks: the counter's value at each of its ticks, in order of time.
        intervals: in order of time, without overlap. What lies between and around them counts as
            one more interval of the fit, and its energy goes to none of them.
        tick_error_s: how well the time of a tick is known. The power of an interval that is
            shorter than this cannot be told, and is drawn towards the mean power.

    Raises:
        ValueError: fewer than two ticks, ticks that do not reach around the intervals, or a
            counter that runs backwards or stands still.
    """
    _check(ticks, intervals)
    times = np.array([tick.t_s for tick in ticks])
    energies = np.diff([tick.energy_j for tick in ticks])
    overlaps = _overlaps(times, intervals)
    rest = np.diff(times) - overlaps.sum(axis=1)
    names = list(dict.fromkeys(interval.name for interval in intervals))
    by_name = np.stack(
        [
            overlaps[:, [interval.name == name for interval in intervals]].sum(axis=1)
            for name in names
        ]
        + [rest.clip(min=0)],
        axis=1,
    )
    powers = _fit_powers(by_name, energies, tick_error_s)
    power_of = dict(zip(names, powers, strict=False))
    weights = overlaps * np.array([power_of[interval.name] for interval in intervals])
    totals = weights.sum(axis=1) + by_name[:, -1] * powers[-1]
    shares = weights / totals[:, None] * energies[:, None]
    return [float(value) for value in shares.sum(axis=0)]


def _check(ticks: Sequence[CounterSample], intervals: Sequence[Interval]) -> None:
    if len(ticks) < 2:
        raise ValueError("the energy counter did not advance during the run")
    if any(b.energy_j < a.energy_j for a, b in pairwise(ticks)):
        raise ValueError("the energy counter ran backwards (reset or wrapped) during the run")
    start_s = min(interval.start_s for interval in intervals)
    end_s = max(interval.end_s for interval in intervals)
    if ticks[0].t_s > start_s or ticks[-1].t_s < end_s:
        raise ValueError("the energy counter's ticks do not reach around the run")


def _overlaps(times: NDArray[np.float64], intervals: Sequence[Interval]) -> NDArray[np.float64]:
    """Seconds that each tick (row) shares with each interval (column)."""
    starts = np.array([interval.start_s for interval in intervals])
    ends = np.array([interval.end_s for interval in intervals])
    low = np.maximum(times[:-1, None], starts[None, :])
    high = np.minimum(times[1:, None], ends[None, :])
    return np.clip(high - low, 0, None)


def _fit_powers(
    overlaps: NDArray[np.float64], energies: NDArray[np.float64], tick_error_s: float
) -> NDArray[np.float64]:
    """Watts per column, by least squares on ``overlaps @ powers = energies``.

    A timing error dt of a tick is an energy error of mean power * dt. Against that stands a prior:
    powers differ from the mean by about the mean. It decides where the ticks do not.
    """
    from scipy.optimize import nnls

    mean_power = energies.sum() / overlaps.sum()
    columns = overlaps.shape[1]
    design = np.vstack([overlaps, np.eye(columns) * tick_error_s])
    target = np.concatenate([energies, np.full(columns, mean_power * tick_error_s)])
    solution, _ = nnls(design, target)
    return np.maximum(solution, mean_power * LEAST_POWER)


def integrate(samples: Sequence[PowerSample], start_s: float, end_s: float) -> float:
    """Joules between two times, each sample holding until the next one.

    Raises:
        ValueError: no sample at or before ``start_s``.
    """
    if not samples or samples[0].t_s > start_s:
        raise ValueError("no power sample reaches back to the start of the run")
    times = np.array([sample.t_s for sample in samples] + [max(end_s, samples[-1].t_s)])
    low, high = np.maximum(times[:-1], start_s), np.minimum(times[1:], end_s)
    powers = np.array([sample.power_w for sample in samples])
    return float((np.clip(high - low, 0, None) * powers).sum())
