"""The background thread that reads meters and memory while a run goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from .meters import DeviceStatus, Meter, MeterReadError
from .records import CounterSample, MemorySample, PowerSample

VRAM_PERIOD_S = 0.02
RSS_PERIOD_S = 0.1
"""How often memory in use is read; a peak shorter than this can be missed."""

STATUS_PERIOD_S = 0.25
"""How often clocks, temperature and throttling are read: they change slowly and cost more."""


class StatusSample(NamedTuple):
    t_s: float
    status: DeviceStatus


Sample = TypeVar("Sample", CounterSample, PowerSample, MemorySample, StatusSample)


@dataclass
class Samples:
    """What the thread has seen so far. Lists only grow, so a reader may slice them meanwhile."""

    counter: list[CounterSample] = field(default_factory=list)
    power: list[PowerSample] = field(default_factory=list)
    vram: list[MemorySample] = field(default_factory=list)
    rss: list[MemorySample] = field(default_factory=list)
    status: list[StatusSample] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Sampler:
    """Reads while it is entered; outside of that no thread exists.

    The counter's value is kept when it changes, so the times in ``samples.counter`` are the
    counter's ticks, each late by at most ``meter.poll_period_s``. A channel that fails is not read
    again, and its error stands in ``samples.faults``.

    Args:
        meter: the energy meter, or ``None`` to read memory alone.
        read_vram_bytes: bytes in use on the device, or ``None`` where there is no such source.
        read_rss_bytes: resident bytes of this process.
    """

    def __init__(
        self,
        meter: Meter | None,
        read_vram_bytes: Callable[[], int | None] | None,
        read_rss_bytes: Callable[[], int | None] | None,
    ) -> None:
        self.samples = Samples()
        self._channels = list(self._make_channels(meter, read_vram_bytes, read_rss_bytes))
        self._stop = threading.Event()
        self._ticked = threading.Condition()
        self._thread: threading.Thread | None = None

    def _make_channels(
        self,
        meter: Meter | None,
        read_vram_bytes: Callable[[], int | None] | None,
        read_rss_bytes: Callable[[], int | None] | None,
    ) -> Iterable[_Channel]:
        if meter is not None:
            yield _Channel(meter.poll_period_s, lambda: self._read_counter(meter))
            yield _Channel(meter.poll_period_s, lambda: self._read_power(meter))
            yield _Channel(STATUS_PERIOD_S, lambda: self._read_status(meter))
        if read_vram_bytes is not None:
            vram = self.samples.vram
            yield _Channel(VRAM_PERIOD_S, lambda: _read_memory(read_vram_bytes, vram))
        if read_rss_bytes is not None:
            rss = self.samples.rss
            yield _Channel(RSS_PERIOD_S, lambda: _read_memory(read_rss_bytes, rss))

    def __enter__(self) -> Sampler:
        self._poll(time.perf_counter())
        self._thread = threading.Thread(target=self._loop, name="wattbench-sampler", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def wait_for_tick(self, timeout_s: float) -> None:
        """Block until the counter ticks next, so that what follows, or went before, is covered.

        Returns at once where there is no counter.
        """
        if not self.samples.counter:
            return
        with self._ticked:
            self._ticked.wait(timeout_s)

    def _loop(self) -> None:
        while self._channels:
            due_s = min(channel.due_s for channel in self._channels)
            if self._stop.wait(max(0.0, due_s - time.perf_counter())):
                return
            self._poll(time.perf_counter())

    def _poll(self, now_s: float) -> None:
        for channel in list(self._channels):
            if channel.due_s > now_s:
                continue
            channel.due_s = now_s + channel.period_s
            try:
                alive = channel.read()
            except MeterReadError as error:
                self.samples.faults.append(str(error))
                alive = False
            if not alive:
                self._channels.remove(channel)

    def _read_counter(self, meter: Meter) -> bool:
        energy_j = meter.read_energy_j()
        if energy_j is None:
            return False
        counter = self.samples.counter
        if not counter or counter[-1].energy_j != energy_j:
            with self._ticked:
                counter.append(CounterSample(time.perf_counter(), energy_j))
                self._ticked.notify_all()
        return True

    def _read_power(self, meter: Meter) -> bool:
        power_w = meter.read_power_w()
        if power_w is None:
            return False
        self.samples.power.append(PowerSample(time.perf_counter(), power_w))
        return True

    def _read_status(self, meter: Meter) -> bool:
        status = meter.read_status()
        if status == DeviceStatus():
            return False
        self.samples.status.append(StatusSample(time.perf_counter(), status))
        return True


@dataclass
class _Channel:
    period_s: float
    read: Callable[[], bool]
    due_s: float = 0.0


def _read_memory(read: Callable[[], int | None], into: list[MemorySample]) -> bool:
    used_bytes = read()
    if used_bytes is None:
        return False
    into.append(MemorySample(time.perf_counter(), used_bytes))
    return True


def around(samples: list[Sample], start_s: float, end_s: float) -> tuple[Sample, ...]:
    """The samples from the last one before ``start_s`` to the first one after ``end_s``."""
    first = last = 0
    for index, sample in enumerate(samples):
        if sample.t_s <= start_s:
            first = index
        last = index
        if sample.t_s >= end_s:
            break
    return tuple(samples[first : last + 1])
