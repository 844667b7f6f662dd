"""The background thread that reads meters and memory while a run goes on."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from .meters import DeviceStatus, Meter, MeterReadError
from .records import MemorySample, PowerSample
from .samples import Samples, StatusSample
from .tick_clock import TickClock
from .ticks import Ticks

CHECK_PERIOD_S = 0.2
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

EARLY_S, LATE_S = 0.02, 0.1
"""A channel is read this much too early or late rather than that the thread wakes for it alone."""


class Sampler:
    """Reads in a thread while it is entered, as often as one likes; outside of that none exists.

    Around that, :meth:`resume` and :meth:`wait_for_tick` read in the thread that calls them.

    The counter's value is kept when it changes, so the times in ``samples.counter`` are the
    counter's ticks (the first one excepted, which is the value found on entering), and
    ``samples.tick_errors`` says how far off each may be. Once it is known that ticks come evenly,
    one read after each is enough, and the other channels are read in the same breath
    (:mod:`.ticks`). A counter that is computed when it is read does not tick: every read is kept.

    A channel that fails is not read again, and its error stands in ``samples.faults``.

    Args:
        meter: the energy meter, or ``None`` to read memory alone.
        read_vram_bytes: bytes in use on the device, or ``None`` where there is no such source.
        read_rss_bytes: resident bytes of this process.
        read_allocator_bytes: bytes that torch's allocator holds for this process.
        clock: the rhythm of the meter's counter as it was last known, to be tried first.
    """

    def __init__(
        self,
        meter: Meter | None,
        read_vram_bytes: Callable[[], int | None] | None,
        read_rss_bytes: Callable[[], int | None] | None,
        read_allocator_bytes: Callable[[], int | None] | None = None,
        clock: TickClock | None = None,
    ) -> None:
        self.samples = samples = Samples()
        self._ticks: Ticks | None = None
        self._power: _Channel | None = None
        self._channels: list[_Channel] = []
        self._channels_due_s = 0.0
        if meter is not None:
            self._ticks = Ticks(meter, samples, clock)
            self._power = _Channel(meter.poll_period_s, lambda: self._read_power(meter))
            status = _Channel(STATUS_PERIOD_S, lambda: self._read_status(meter))
            self._channels += [self._power, status]
        for period_s, read, into in (
            (VRAM_PERIOD_S, read_vram_bytes, samples.vram),
            (VRAM_PERIOD_S, read_allocator_bytes, samples.allocator),
            (RSS_PERIOD_S, read_rss_bytes, samples.rss),
        ):
            self._channels.append(_Channel(period_s, _memory_reader(read, into)))
        self._running = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def clock(self) -> TickClock | None:
        """The rhythm of the meter's counter, where there is one."""
        return self._ticks.clock if self._ticks is not None else None

    def __enter__(self) -> Sampler:
        self.poll()
        if self._ticks is not None and self._power is not None:
            self._power.period_s = max(self._power.period_s, CHECK_PERIOD_S)
        self._running = threading.Lock()
        self._running.acquire()
        self._thread = threading.Thread(target=self._loop, name="wattbench-sampler", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.release()
        if self._thread is not None:
            self._thread.join()

    def resume(self, timeout_s: float) -> float:
        """Read what is due after a pause, and answer when the counter last ticked.

        Where the rhythm of its ticks is not known, it has to tick once more for that. Where there
        is no counter, the answer is the time.
        """
        if self._ticks is not None:
            self._ticks.resume()
        self._read_until(lambda ticks: ticks.is_current, timeout_s)
        counter = self.samples.counter
        return counter[-1].t_s if counter else time.perf_counter()

    def wait_for_tick(self, timeout_s: float) -> bool:
        """Read until the counter ticks next, so that what follows, or went before, is covered.

        Answers whether it did; at once, where there is no counter.
        """
        called_s, counter = time.perf_counter(), self.samples.counter
        return self._read_until(lambda _: counter[-1].t_s > called_s, timeout_s)

    def _read_until(self, is_enough: Callable[[Ticks], bool], timeout_s: float) -> bool:
        deadline_s = time.perf_counter() + timeout_s
        self.poll()
        while self._ticks is not None and not is_enough(self._ticks):
            now_s = time.perf_counter()
            if now_s >= deadline_s:
                return False
            time.sleep(max(0.0, min(self._due_s(), deadline_s) - now_s))
            self.poll()
        return self._ticks is not None

    def _loop(self) -> None:
        """A lock is the cheapest thing to wait for: it is released to end the thread."""
        while self._channels or self._ticks is not None:
            if self._running.acquire(timeout=max(0.0, self._due_s() - time.perf_counter())):
                return
            self.poll()

    def _due_s(self) -> float:
        """When to wake: for the counter, or for a channel that cannot wait for the counter."""
        if self._ticks is None or self._channels_due_s < self._ticks.due_s - LATE_S:
            return self._channels_due_s
        return self._ticks.due_s

    def poll(self) -> None:
        """Read what is due, the counter first."""
        now_s, ticks = time.perf_counter(), self._ticks
        if ticks is not None and ticks.due_s <= now_s:
            if not self._is_alive(ticks.read):
                self._ticks = None
            now_s = time.perf_counter()
        if self._channels_due_s - now_s <= EARLY_S:
            self._read_channels(now_s)

    def _read_channels(self, now_s: float) -> None:
        for channel in self._channels:
            if channel.due_s - now_s > EARLY_S or self._comes_between(channel, now_s):
                continue
            if not self._is_alive(channel.read):
                self._channels = [other for other in self._channels if other is not channel]
            now_s = time.perf_counter()
        self._channels_due_s = min([channel.due_s for channel in self._channels], default=math.inf)

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
