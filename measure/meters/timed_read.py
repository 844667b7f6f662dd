"""The one way to read a channel of a meter: its value, and between which moments it was taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple


class TimedRead(NamedTuple):
    """A value and the ``time.perf_counter`` seconds before and after it was read."""

    began_s: float
    ended_s: float
    value: Any

    @property
    def middle_s(self) -> float:
        return (self.began_s + self.ended_s) / 2

    @property
    def cost_s(self) -> float:
        return self.ended_s - self.began_s


def timed_read(read: Callable[[], Any]) -> TimedRead:
    """Read once.

    Raises:
        MeterReadError: the channel fails.
    """
    began_s = time.perf_counter()
    value = read()
    return TimedRead(began_s, time.perf_counter(), value)
