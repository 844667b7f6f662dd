"""Energy counters as hardware has them: they wrap, they reset, and neither may become 0 J."""

from __future__ import annotations

from .base import MeterReadError


class MonotonicCounter:
    """Passes a counter on that may only grow; once it has run backwards it is no longer believed.

    It stays refused from then on, because a difference across the fault would be a wrong number.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._last_j: float | None = None
        self._fault = ""

    def advance(self, energy_j: float) -> float:
        """``energy_j`` itself, in joules.

        Raises:
            MeterReadError: the counter ran backwards, now or earlier.
        """
        if not self._fault and self._last_j is not None and energy_j < self._last_j:
            self._fault = (
                f"the energy counter of {self._name} ran backwards, from {self._last_j:.3f} J to "
                f"{energy_j:.3f} J: the driver was reloaded or the counter reset; open it again"
            )
        if self._fault:
            raise MeterReadError(self._fault)
        self._last_j = energy_j
        return energy_j


class WrappingCounter:
    """Unwraps a counter that starts again at 0 after ``range_j`` joules.

    A smaller reading is a wrap if the energy it implies is one that ``limit_w`` watts can have
    drawn since the last reading; else it is a reset, and the counter is no longer believed.
    """

    SLACK_S = 0.1
    """Counters are refreshed late; this much time is granted on top of the time that passed."""

    def __init__(self, name: str, range_j: float, limit_w: float) -> None:
        self._name = name
        self._range_j = range_j
        self._limit_w = limit_w
        self._last: tuple[float, float] | None = None
        self._total_j = 0.0
        self._fault = ""

    def advance(self, raw_j: float, t_s: float) -> float:
        """Joules since the first reading; ``raw_j`` was read at ``t_s`` seconds.

        Raises:
            MeterReadError: the counter was reset, or left its range, now or earlier.
        """
        if not self._fault:
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
        if self._last is None or raw_j >= self._last[0]:
            return ""
        last_j, last_s = self._last
        wrapped_j = raw_j - last_j + self._range_j
        if wrapped_j <= self._limit_w * (t_s - last_s + self.SLACK_S):
            return ""
        return (
            f"{self._name} fell from {last_j:.3f} J to {raw_j:.3f} J in {t_s - last_s:.3f} s: "
            "a reset, no wrap-around; open it again"
        )
