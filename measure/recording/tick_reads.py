"""What searching and following ticks share: the ticks found so far, and when to read next."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from ...records import CounterSample
from ..meters.timed_read import TimedRead
from .samples import Samples, TickError
from .tick_clock import TickClock

Read = TimedRead
"""Joules of the counter, and between which two moments they were read."""

REFINED_TICKS = 32
"""So many of the latest ticks are timed anew when the rhythm is known better."""


@dataclass
class Pace:
    """When the next read is due, and what is known of how reads go.

    ``usual_count`` reads to come need no thought, as long as each ends before ``usual_until_s`` and
    shows a new value; both times move on by ``stride_s`` with each. ``read_s`` is what the machine
    takes for a read at best, ``lateness_s`` how late it wakes who reads, in the middle.
    """

    due_s: float = 0.0
    usual_count: int = 0
    usual_until_s: float = 0.0
    stride_s: float = 0.0
    read_s: float = math.inf
    lateness_s: float = 0.0


class KeptTicks:
    """The ticks of ``samples``, and the numbers that the latest ones have in a rhythm."""

    def __init__(self, samples: Samples) -> None:
        self.value_j = math.nan
        """What the counter showed at the last tick."""
        self.is_current = False
        """Whether the counter's last tick is known, since the last pause."""
        self.errors = samples.tick_errors
        self._samples = samples
        self._numbered: deque[tuple[int, int]] = deque(maxlen=REFINED_TICKS)

    @property
    def count(self) -> int:
        return len(self._samples.counter)

    @property
    def last_s(self) -> float:
        """When the counter last ticked."""
        return self._samples.counter[-1].t_s

    def begin(self, read: Read) -> None:
        """Only after this read do changes tell something."""
        if not self._samples.counter:
            self._samples.counter.append(CounterSample(read.middle_s, read.value))
        self.value_j = read.value

    def keep(self, tick_s: float, energy_j: float, error_s: float) -> None:
        """The counter went to ``energy_j`` at ``tick_s``, known within ``error_s``."""
        self.errors.append(TickError(tick_s, error_s))
        self._samples.counter.append(CounterSample(tick_s, energy_j))
        self.value_j, self.is_current = energy_j, True

    def number_anew(self) -> None:
        """Ticks so far belong to another rhythm."""
        self._numbered.clear()

    def note(self, number: int, index: int | None = None) -> None:
        """The tick at ``index`` of the samples, the last one if none is given, has this number."""
        self._numbered.append((self.count - 1 if index is None else index, number))

    def refine(self, clock: TickClock) -> None:
        """Time ticks of late by what is known of their rhythm now."""
        counter = self._samples.counter
        for index, number in self._numbered:
            tick_s, error_s = clock.time(number)
            counter[index] = CounterSample(tick_s, counter[index].energy_j)
            self.errors[index - 1] = TickError(tick_s, error_s)
