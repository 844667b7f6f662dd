"""What a meter is seen to do: how often its values change, and what reading them costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import Meter
from .bounded import ANSWER_S, within
from .timed_read import timed_read

PAUSE_S = 0.001
"""Least time between two rounds of reads."""


@dataclass(frozen=True)
class ChannelFigures:
    """One channel of a meter; times in seconds.

    ``refresh_*`` are median, least and greatest time between changes of the value, and ``None``
    where it changed less than three times. A refresh shorter than a read cannot be seen.
    """

    read_s: float
    refresh_s: float | None
    refresh_low_s: float | None
    refresh_high_s: float | None


@dataclass(frozen=True)
class MeterFigures:
    """A meter over ``duration_s``; a channel that it does not have is ``None``, its power too."""

    duration_s: float
    counter: ChannelFigures | None
    power: ChannelFigures | None
    counter_w: float | None
    power_w: float | None


def watch_meter(meter: Meter, seconds: float) -> MeterFigures:
    """Read a meter as fast as it answers, and let others run for as long in between.

    Raises:
        MeterReadError: a channel fails, or does not answer.
    """
    counter, power = _Watch(meter.read_energy_j), _Watch(meter.read_power_w)
    start_s = time.perf_counter()

    def watch() -> None:
        while time.perf_counter() < start_s + seconds:
            cost_s = counter.read() + power.read()
            time.sleep(max(cost_s, PAUSE_S))

    within(seconds + ANSWER_S, watch)
    return MeterFigures(
        duration_s=time.perf_counter() - start_s,
        counter=counter.figures(),
        power=power.figures(),
        counter_w=counter.slope(),
        power_w=float(np.mean(power.values)) if power.values else None,
    )


class _Watch:
    """The values of one channel, each with the middle of its read."""

    def __init__(self, read: Callable[[], float | None]) -> None:
        self.values: list[float] = []
        self._times: list[float] = []
        self._costs: list[float] = []
        self._read = read

    def read(self) -> float:
        """Read once; returns how long it took."""
        read = timed_read(self._read)
        if read.value is not None:
            self.values.append(read.value)
            self._times.append(read.middle_s)
            self._costs.append(read.cost_s)
        return read.cost_s

    def figures(self) -> ChannelFigures | None:
        if not self.values:
            return None
        lengths = np.diff(self._change_times())
        if len(lengths) < 2:
            return ChannelFigures(float(np.median(self._costs)), None, None, None)
        return ChannelFigures(
            read_s=float(np.median(self._costs)),
            refresh_s=float(np.median(lengths)),
            refresh_low_s=float(lengths.min()),
            refresh_high_s=float(lengths.max()),
        )

    def slope(self) -> float | None:
        """Watts from the first change of a counter to the last one."""
        times = self._change_times()
        if len(times) < 2:
            return None
        changed = np.flatnonzero(np.diff(self.values))
        gained_j = self.values[changed[-1] + 1] - self.values[changed[0] + 1]
        return float(gained_j / (times[-1] - times[0]))

    def _change_times(self) -> NDArray[np.float64]:
        """The middles between the reads before and after each change."""
        times = np.array(self._times)
        changed = np.flatnonzero(np.diff(self.values))
        return (times[changed] + times[changed + 1]) / 2
