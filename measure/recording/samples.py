"""What has been read while something is measured, in order of time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from ...records import CounterSample, MemorySample, PowerSample
from ..meters import DeviceStatus


class StatusSample(NamedTuple):
    t_s: float
    status: DeviceStatus


class TickError(NamedTuple):
    """How far off the time of the tick at ``t_s`` may be."""

    t_s: float
    error_s: float


Sample = TypeVar("Sample", CounterSample, TickError, PowerSample, MemorySample, StatusSample)


@dataclass
class Samples:
    """What the sampler's thread has seen so far.

    Lists only grow, so a reader may slice them meanwhile; the times of the latest ticks become more
    exact while it goes on.
    """

    counter: list[CounterSample] = field(default_factory=list)
    tick_errors: list[TickError] = field(default_factory=list)
    power: list[PowerSample] = field(default_factory=list)
    vram: list[MemorySample] = field(default_factory=list)
    allocator: list[MemorySample] = field(default_factory=list)
    rss: list[MemorySample] = field(default_factory=list)
    status: list[StatusSample] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    is_energy_lost: bool = False
    """Whether what failed is what energy comes from: the counter, or power where there is none."""


def around(samples: list[Sample], start_s: float, end_s: float) -> tuple[Sample, ...]:
    """The samples from the last one before ``start_s`` to the first one after ``end_s``."""
    first = bisect_right(samples, start_s, key=_time)
    last = bisect_left(samples, end_s, key=_time)
    return tuple(samples[max(first - 1, 0) : last + 1])


def _time(sample: Sample) -> float:
    return sample.t_s
