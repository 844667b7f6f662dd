"""The background thread that reads meters and memory while a run goes on."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from .meters import DeviceStatus, Meter, MeterReadError
from .records import CounterSample, MemorySample, PowerSample
from .tick_clock import TickClock

CHECK_PERIOD_S = 0.1
"""How often power is read beside a counter, which it then only checks."""

VRAM_PERIOD_S = 0.1
RSS_PERIOD_S = 0.5
"""How often memory in use is read; a peak shorter than this can be missed.

Reads compete with the Python code that feeds the GPU: with about 200 calls a second SDXL was 10 to
28 % slower on a virtual machine with an H200, where that code is the bottleneck."""

STATUS_PERIOD_S = 1.0
"""How often clocks, temperature and throttling are read: they change slowly and cost more."""

MOST_DUTY = 0.05
"""The most of the time that the reads of one channel may take, the counter's ticks excepted.

On a virtual machine a single call to a vendor's library was seen to take 5 ms."""

QUIET, LEAST_LENGTHS = 0.85, 3
"""The part of the shortest recent tick that goes by before the next one is looked for, and how many
ticks have to have been seen for that."""

LATER = 0.2
"""Where ticks come evenly, the counter is read this part of a tick after each, or later if slow."""


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
    time between them. Once it is known that ticks come evenly (:class:`.tick_clock.TickClock`), one
    read after each is enough. Slow reads of other channels are made between ticks. A counter that
    is computed when it is read does not tick: every read is kept.

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
        self._ticks: _Ticks | None = None
        self._power: _Channel | None = None
        self._channels: list[_Channel] = []
        if meter is not None:
            self._ticks = _Ticks(meter, samples, self._ticked)
            self._power = _Channel(meter.poll_period_s, lambda: self._read_power(meter))
            status = _Channel(STATUS_PERIOD_S, lambda: self._read_status(meter))
            self._channels += [self._power, status]
        for period_s, read, into in (
            (VRAM_PERIOD_S, read_vram_bytes, samples.vram),
            (VRAM_PERIOD_S, read_allocator_bytes, samples.allocator),
            (RSS_PERIOD_S, read_rss_bytes, samples.rss),
        ):
            self._channels.append(_Channel(period_s, _memory_reader(read, into)))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Sampler:
        self._poll()
        if self._ticks is not None and self._power is not None:
            self._power.period_s = max(self._power.period_s, CHECK_PERIOD_S)
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
    """The counter: read until a tick has been seen, then left alone until the next one is due."""

    def __init__(self, meter: Meter, samples: Samples, ticked: threading.Condition) -> None:
        self.due_s = 0.0
        self._meter = meter
        self._samples = samples
        self._ticked = ticked
        self._clock = TickClock()
        self._lengths: deque[float] = deque(maxlen=8)
        self._read_s = 0.0
        self._margin_s = 0.0
        self._stood = False
        self._paused = False
        self._followed_count = 0

    def read(self) -> bool:
        began_s = time.perf_counter()
        energy_j = self._meter.read_energy_j()
        ended_s = time.perf_counter()
        if energy_j is None:
            return False
        before_s, self._read_s = self._read_s, (began_s + ended_s) / 2
        self._margin_s = ended_s - began_s + 2 * self._clock.error_s
        counter = self._samples.counter
        if self._meter.is_computed:
            self._keep(self._read_s, energy_j, self._meter.poll_period_s / 2)
        elif not counter:
            counter.append(CounterSample(self._read_s, energy_j))
        elif self._can_follow() and self._followed_count < self._clock.trusted_ticks:
            self._follow(energy_j)
        elif energy_j != counter[-1].energy_j:
            self._find(energy_j, before_s)
        else:
            self._stood, self._paused = True, False
        self.due_s = max(self.due_s, ended_s, began_s + self._meter.poll_period_s)
        return True

    def _find(self, energy_j: float, before_s: float) -> None:
        """A tick since the read before this one.

        A counter that changes at every read is as new as the read; else the tick lies between. The
        first read after a pause cannot tell the two apart, so there it counts as between.
        """
        half_s = (self._read_s - before_s) / 2
        tick_s, is_between = self._read_s, self._stood or self._paused
        if is_between:
            tick_s -= half_s
            self._clock.observe(tick_s, half_s)
            self._lengths.append(tick_s - self._samples.counter[-1].t_s)
        else:
            self._lengths.clear()
        self._followed_count, self._stood = 0, False
        if self._clock.is_known:
            tick_s, half_s = self._in_rhythm(tick_s, half_s)
        if self._can_follow():
            self.due_s = tick_s + self._clock.period_s + self._later_s()
        elif len(self._lengths) >= LEAST_LENGTHS:
            self.due_s = tick_s + QUIET * min(self._lengths)
        self._paused = self.due_s > self._read_s + self._meter.poll_period_s
        self._keep(tick_s, energy_j, half_s)

    def _in_rhythm(self, tick_s: float, half_s: float) -> tuple[float, float]:
        """The time of a tick by the known rhythm, and its uncertainty.

        Where it would be the tick before once more, the rhythm is wrong and what was seen stands.
        """
        clock = self._clock
        is_sharp = half_s < clock.period_s / 8
        even_s = clock.nearest(tick_s) if is_sharp else clock.last_before(self._read_s)
        if even_s > self._samples.counter[-1].t_s + clock.period_s / 2:
            return even_s, clock.error_s
        clock.forget()
        return tick_s, half_s

    def _can_follow(self) -> bool:
        """Whether ticks come evenly, and far enough apart to be told from each other by a read."""
        return self._clock.is_known and 3 * self._margin_s < self._clock.period_s

    def _later_s(self) -> float:
        return max(LATER * self._clock.period_s, 1.5 * self._margin_s)

    def _follow(self, energy_j: float) -> None:
        """A read that lies well between two ticks of a known rhythm belongs to the one before it.

        Now and then a tick is looked for again, whether it still comes in time.
        """
        clock, counter = self._clock, self._samples.counter
        tick_s, margin_s = clock.last_before(self._read_s), self._margin_s
        self._followed_count += 1
        self._stood = False
        self._paused = True
        if margin_s < self._read_s - tick_s < clock.period_s - margin_s:
            if energy_j != counter[-1].energy_j:
                self._keep(tick_s, energy_j, clock.error_s)
            elif counter[-1].t_s < tick_s - clock.period_s / 2:
                clock.forget()
                return
        looks_again = self._followed_count >= clock.trusted_ticks
        self.due_s = tick_s + clock.period_s + self._later_s() * (-1 if looks_again else 1)

    def _keep(self, tick_s: float, energy_j: float, error_s: float) -> None:
        with self._ticked:
            self._samples.tick_errors.append(TickError(tick_s, error_s))
            self._samples.counter.append(CounterSample(tick_s, energy_j))
            self._ticked.notify_all()


class _Channel:
    """Something that is read every ``period_s``, or less often where a read is slow."""

    MOST_PUT_OFF = 10
    """A read is put off this often at most: some counters leave no pause."""

    def __init__(self, period_s: float, read: Callable[[], bool]) -> None:
        self.due_s = 0.0
        self.cost_s = 0.0
        self.period_s = period_s
        self._read = read
        self._put_off_count = 0

    def read(self) -> bool:
        began_s = time.perf_counter()
        alive = self._read()
        self.cost_s = time.perf_counter() - began_s
        self.due_s = began_s + max(self.period_s, self.cost_s / MOST_DUTY)
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
