"""Energy counters as hardware has them: they wrap, they reset, and neither may become 0 J.

Both classes may be read from several threads: reading and checking is one step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .base import MeterReadError


class MonotonicCounter:
    """A counter that may only grow; once it has run backwards it is no longer believed.

    It stays refused from then on, because a difference across the fault would be a wrong number.
    """

    def __init__(self, name: str, read_j: Callable[[], float]) -> None:
        self._name = name
        self._read_j = read_j
        self._lock = threading.Lock()
        self._last_j: float | None = None
        self._fault = ""

    def read(self) -> float:
        """The counter in joules.

        Raises:
            MeterReadError: it cannot be read now, or ran backwards, now or earlier.
        """
        with self._lock:
            if self._fault:
                raise MeterReadError(self._fault)
            energy_j = self._read_j()
            if self._last_j is not None and energy_j < self._last_j:
                self._fault = (
                    f"the energy counter of {self._name} ran backwards, from {self._last_j:.3f} J "
                    f"to {energy_j:.3f} J: the driver was reloaded or the counter reset. Run again"
                )
                raise MeterReadError(self._fault)
            self._last_j = energy_j
            return energy_j


class WrappingCounter:
    """Unwraps a counter that starts again at 0 after ``range_j`` joules.

    No more than ``limit_w`` watts can have been drawn since the last reading. A value that implies
    more is a reset or a jump; after a pause in which the counter may have wrapped more than once
    its energy cannot be told. In both cases the counter is no longer believed.
    """

    SLACK_S = 0.1
    """Counters are refreshed late; this much time is granted on top of the time that passed."""

    def __init__(
        self,
        name: str,
        read_j: Callable[[], float],
        range_j: float,
        limit_w: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._name = name
        self._read_j = read_j
        self._range_j = range_j
        self._limit_w = limit_w
        self._clock = clock
        self._lock = threading.Lock()
        self._last: tuple[float, float] | None = None
        self._total_j = 0.0
        self._fault = ""

    def read(self) -> float:
        """Joules since the first reading.

        Raises:
            MeterReadError: it cannot be read now; or it was reset or left its range, now or
                earlier.
        """
        with self._lock:
            if not self._fault:
                raw_j, t_s = self._read_j(), self._clock()
                self._fault = self._fault_of(raw_j, t_s)
            if self._fault:
                raise MeterReadError(self._fault)
            if self._last is not None:
                self._total_j += (raw_j - self._last[0]) % self._range_j
            self._last = (raw_j, t_s)
            return self._total_j

    def _fault_of(self, raw_j: float, t_s: float) -> str:
        if not 0 <= raw_j <= self._range_j:
            return f"{self._name} reads {raw_j} J, outside its range of {self._range_j} J"
        if self._last is None:
            return ""
        last_j, pause_s = self._last[0], t_s - self._last[1]
        if self._limit_w * pause_s > self._range_j:
            return (
                f"{self._name} was not read for {pause_s:.0f} s: it starts again every "
                f"{self._range_j:.0f} J, and may have done so more than once"
            )
        if (raw_j - last_j) % self._range_j <= self._limit_w * (pause_s + self.SLACK_S):
            return ""
        went = "fell" if raw_j < last_j else "rose"
        return (
            f"{self._name} {went} from {last_j:.3f} J to {raw_j:.3f} J in {pause_s:.3f} s, which "
            f"no draw of up to {self._limit_w:g} W explains: a reset or a jump. Run again"
        )
