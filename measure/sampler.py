"""The background thread that reads meters and memory while a run goes on."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from .meters import DeviceStatus, Meter, MeterReadError
from .records import CounterSample, MemorySample, PowerSample

POWER_PERIOD_S = 0.02
"""How often power is read beside a counter, which it then only checks."""

VRAM_PERIOD_S = 0.02
RSS_PERIOD_S = 0.1
"""How often memory in use is read; a peak shorter than this can be missed."""

ALLOCATOR_PERIOD_S = 0.1
"""How often torch's allocator is asked, which tells its exact peak afterwards."""

STATUS_PERIOD_S = 0.25
"""How often clocks, temperature and throttling are read: they change slowly and cost more."""

MOST_DUTY = 0.05
"""The most of the time that the reads of one channel may take, the counter's ticks excepted.

On a virtual machine a single call to a vendor's library was seen to take 5 ms."""

QUIET = 0.8
"""The part of the shortest recent tick that goes by before the next one is looked for."""


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
    """What the thread has seen so far. Lists only grow, so a reader may slice them meanwhile."""

    counter: list[CounterSample] = field(default_factory=list)
    tick_errors: list[TickError] = field(default_factory=list)
    power: list[PowerSample] = field(default_factory=list)
    vram: list[MemorySample] = field(default_factory=list)
    allocator: list[MemorySample] = field(default_factory=list)
    rss: list[MemorySample] = field(default_factory=list)
    status: list[StatusSample] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Sampler:
    """Reads while it is entered; outside of that no thread exists.

    The counter's value is kept when it changes, so the times in ``samples.counter`` are the
    counter's ticks (the first one excepted, which is the value found on entering). A tick is timed
    to the middle between the reads before and after it, and ``samples.tick_errors`` has half the
    time between them. Once the length of a tick is known, the counter is left alone for most of
    it, and slow reads of other channels are made in that pause.

    A channel that fails is not read again, and its error stands in ``samples.faults``.

    Args:
        meter: the energy meter, or ``None`` to read memory alone.
        read_vram_bytes: bytes in use on the device, or ``None`` where there is no such source.
        read_rss_bytes: resident bytes of this process.
        read_allocator_bytes: bytes that torch's allocator holds for this process.
    """

    def __init__(
        self,
        meter: Meter | None,
        read_vram_bytes: Callable[[], int | None] | None,
        read_rss_bytes: Callable[[], int | None] | None,
        read_allocator_bytes: Callable[[], int | None] | None = None,
    ) -> None:
        self.samples = samples = Samples()
        self._ticked = threading.Condition()
        self._ticks = _Ticks(meter, samples, self._ticked) if meter is not None else None
        memory = (
            (VRAM_PERIOD_S, read_vram_bytes, samples.vram),
            (ALLOCATOR_PERIOD_S, read_allocator_bytes, samples.allocator),
            (RSS_PERIOD_S, read_rss_bytes, samples.rss),
        )
        self._channels = [
            *(self._meter_channels(meter) if meter is not None else ()),
            *(_Channel(period_s, _memory_reader(read, into)) for period_s, read, into in memory),
        ]
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def _meter_channels(self, meter: Meter) -> Iterable[_Channel]:
        yield _Channel(max(meter.poll_period_s, POWER_PERIOD_S), lambda: self._read_power(meter))
        yield _Channel(STATUS_PERIOD_S, lambda: self._read_status(meter))

    def __enter__(self) -> Sampler:
        self._poll()
        self._thread = threading.Thread(target=self._loop, name="wattbench-sampler", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def wait_for_tick(self, timeout_s: float) -> bool:
        """Block until the counter ticks next, so that what follows, or went before, is covered.

        Answers whether it did; at once, where there is no counter.
        """
        called_s, counter = time.perf_counter(), self.samples.counter
        if not counter:
            return False
        with self._ticked:
            return self._ticked.wait_for(lambda: counter[-1].t_s > called_s, timeout_s)

    def _loop(self) -> None:
        while self._channels or self._ticks is not None:
            due = [channel.due_s for channel in self._channels]
            due_s = min([*due, self._ticks.due_s] if self._ticks is not None else due)
            if self._stop.wait(max(0.0, due_s - time.perf_counter())):
                return
            self._poll()

    def _poll(self) -> None:
        """Read what is due, the counter first."""
        if (
            self._ticks is not None
            and self._ticks.due_s <= time.perf_counter()
            and not self._is_alive(self._ticks.read)
        ):
            self._ticks = None
        for channel in list(self._channels):
            now_s = time.perf_counter()
            if channel.due_s > now_s or self._comes_between(channel, now_s):
                continue
            if not self._is_alive(channel.read):
                self._channels.remove(channel)

    def _comes_between(self, channel: _Channel, now_s: float) -> bool:
        """Put off a read that would still go on when the next tick is looked for."""
        if self._ticks is None or now_s + channel.cost_s <= self._ticks.due_s:
            return False
        return channel.put_off(until_s=self._ticks.due_s)

    def _is_alive(self, read: Callable[[], bool]) -> bool:
        try:
            return read()
        except MeterReadError as error:
            self.samples.faults.append(str(error))
            return False

    def _read_power(self, meter: Meter) -> bool:
        began_s = time.perf_counter()
        power_w = meter.read_power_w()
        if power_w is None:
            return False
        self.samples.power.append(PowerSample((began_s + time.perf_counter()) / 2, power_w))
        return True

    def _read_status(self, meter: Meter) -> bool:
        status = meter.read_status()
        if status == DeviceStatus():
            return False
        self.samples.status.append(StatusSample(time.perf_counter(), status))
        return True


class _Ticks:
    """The counter: read often where a tick is due, and not in between."""

    def __init__(self, meter: Meter, samples: Samples, ticked: threading.Condition) -> None:
        self.due_s = 0.0
        self._meter = meter
        self._samples = samples
        self._ticked = ticked
        self._lengths: deque[float] = deque(maxlen=8)
        self._read_s = 0.0
        self._stood = False
        self._paused = False

    def read(self) -> bool:
        began_s = time.perf_counter()
        energy_j = self._meter.read_energy_j()
        ended_s = time.perf_counter()
        if energy_j is None:
            return False
        before_s, self._read_s = self._read_s, (began_s + ended_s) / 2
        counter, pause_s = self._samples.counter, 0.0
        if not counter:
            counter.append(CounterSample(self._read_s, energy_j))
        elif energy_j != counter[-1].energy_j:
            self._keep(energy_j, before_s)
            if len(self._lengths) == self._lengths.maxlen:
                pause_s = QUIET * min(self._lengths)
            self._stood = False
        else:
            self._stood = True
        self._paused = pause_s > self._meter.poll_period_s
        period_s = max(self._meter.poll_period_s, pause_s)
        self.due_s = max(ended_s, began_s + period_s)
        return True

    def _keep(self, energy_j: float, before_s: float) -> None:
        """A counter that changes at every read is as new as the read; else the tick lies between.

        The first read after a pause cannot tell the two apart, so there it counts as between.
        """
        counter, half_s = self._samples.counter, (self._read_s - before_s) / 2
        late_s = half_s if self._stood or self._paused else 0.0
        tick = CounterSample(self._read_s - late_s, energy_j)
        self._lengths.append(tick.t_s - counter[-1].t_s)
        with self._ticked:
            self._samples.tick_errors.append(TickError(tick.t_s, half_s))
            counter.append(tick)
            self._ticked.notify_all()


class _Channel:
    """Something that is read every ``period_s``, or less often where a read is slow."""

    MOST_PUT_OFF = 10
    """A read is put off this often at most: some counters leave no pause."""

    def __init__(self, period_s: float, read: Callable[[], bool]) -> None:
        self.due_s = 0.0
        self.cost_s = 0.0
        self._period_s = period_s
        self._read = read
        self._put_off_count = 0

    def read(self) -> bool:
        began_s = time.perf_counter()
        alive = self._read()
        self.cost_s = time.perf_counter() - began_s
        self.due_s = began_s + max(self._period_s, self.cost_s / MOST_DUTY)
        self._put_off_count = 0
        return alive

    def put_off(self, until_s: float) -> bool:
        """Whether it can wait; if so it is due again then."""
        if self._put_off_count >= self.MOST_PUT_OFF:
            return False
        self._put_off_count += 1
        self.due_s = until_s
        return True


def _memory_reader(
    read: Callable[[], int | None] | None, into: list[MemorySample]
) -> Callable[[], bool]:
    def read_into() -> bool:
        used_bytes = read() if read is not None else None
        if used_bytes is None:
            return False
        into.append(MemorySample(time.perf_counter(), used_bytes))
        return True

    return read_into


def around(samples: list[Sample], start_s: float, end_s: float) -> tuple[Sample, ...]:
    """The samples from the last one before ``start_s`` to the first one after ``end_s``."""
    first = bisect_right(samples, start_s, key=_time)
    last = bisect_left(samples, end_s, key=_time)
    return tuple(samples[max(first - 1, 0) : last + 1])


def _time(sample: Sample) -> float:
    return sample.t_s
