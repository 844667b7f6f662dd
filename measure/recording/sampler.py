"""The background thread that reads meters and memory while a run goes on."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...records import MemorySample, PowerSample
from ..meters import DeviceStatus, Meter, MeterReadError
from ..meters.bounded import ANSWER_S, NoAnswerError, never, wait, within
from ..meters.timed_read import timed_read
from .samples import Samples, StatusSample
from .tick_clock import TickClock
from .ticks import Ticks

CHECK_PERIODS_S, CHECK_SHARE = (0.1, 0.4), 0.05
"""How often power is read beside a counter, which it then only checks: every twentieth of the time
that has been measured, within these bounds, so that a short run has enough to be compared by."""

VRAM_PERIOD_S = 0.2
RSS_PERIOD_S = 1.0
"""How often memory in use is read, and at the end; a peak shorter than this can be missed.

Reads compete with the Python code that feeds the GPU: with about 200 calls a second SDXL was 10 to
28 % slower on a virtual machine with an H200, where that code is the bottleneck."""

STATUS_PERIOD_S = 1.0
"""How often clocks, temperature and throttling are read: they change slowly and cost more."""

MOST_DUTY = 0.05
"""The most of the time that the reads of one channel may take, the counter's ticks excepted.

On a virtual machine a single call to a vendor's library was seen to take 5 ms."""

T = TypeVar("T")

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

    A channel that fails is not read again, and its error stands in ``samples.faults``. Where a read
    does not come back within :data:`.bounded.ANSWER_S`, nothing is read any more, and the thread
    that waits for it is left behind.

    Args:
        meter: the energy meter, or ``None`` to read memory alone.
        read_vram_bytes: bytes in use on the device, or ``None`` where there is no such source.
        read_rss_bytes: resident bytes of this process.
        read_allocator_bytes: bytes that torch's allocator holds for this process.
        clock: the rhythm of the meter's counter as it was last known, to be tried first.
        check: called while a read is waited for; what it raises, a cancellation, ends the wait.
    """

    def __init__(
        self,
        meter: Meter | None,
        read_vram_bytes: Callable[[], int | None] | None,
        read_rss_bytes: Callable[[], int | None] | None,
        read_allocator_bytes: Callable[[], int | None] | None = None,
        clock: TickClock | None = None,
        check: Callable[[], None] = never,
    ) -> None:
        self.samples = samples = Samples()
        self._check = check
        self._asked_s: float | None = None
        self.is_lost = False
        """Whether a read has not come back: nothing is read any more."""
        self._ticks: Ticks | None = None
        self._power: list[_Channel] = []
        self._power_period_s, self._entered_s = 0.0, -math.inf
        self._memory: list[_Channel] = []
        status: list[_Channel] = []
        if meter is not None:
            period_s = self._power_period_s = meter.poll_period_s
            self._ticks = Ticks(meter, samples, clock)
            self._power = [_Channel(period_s, meter.read_power_w, PowerSample, samples.power)]
            status = [_Channel(STATUS_PERIOD_S, _status_of(meter), StatusSample, samples.status)]
        for period_s, read, into in (
            (VRAM_PERIOD_S, read_vram_bytes, samples.vram),
            (VRAM_PERIOD_S, read_allocator_bytes, samples.allocator),
            (RSS_PERIOD_S, read_rss_bytes, samples.rss),
        ):
            if read is not None:
                self._memory.append(_Channel(period_s, read, MemorySample, into))
        self._channels = [*self._power, *status, *self._memory]
        self._running = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def clock(self) -> TickClock | None:
        """The rhythm of the meter's counter, where there is one."""
        return self._ticks.clock if self._ticks is not None else None

    def __enter__(self) -> Sampler:
        self._ask(ANSWER_S, lambda: self._poll(self._channels))
        self._entered_s = time.perf_counter()
        self._running = threading.Lock()
        self._running.acquire()
        if not self.is_lost:
            thread = threading.Thread(target=self._loop, name="wattbench-sampler", daemon=True)
            self._thread = thread
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.release()
        thread, asked_s = self._thread, self._asked_s
        if thread is not None and not self.is_lost:
            waited_s = 0.0 if asked_s is None else time.perf_counter() - asked_s
            try:
                wait(ANSWER_S - waited_s, lambda s: _has_ended(thread, s), self._check)
            except NoAnswerError:
                self._lose(NoAnswerError(ANSWER_S))
        for channel in self._memory:
            channel.hasten()
        self._ask(ANSWER_S, lambda: self._poll(self._memory))
        if self._ticks is not None:
            self._ticks.digest()

    def resume(self, timeout_s: float) -> float:
        """Read counter and power after a pause; returns when the counter last ticked.

        Where the rhythm of its ticks is not known, it has to tick once more for that. Where there
        is no counter, it returns the time.
        """
        if self._ticks is not None:
            self._ticks.resume()
        self._ask(timeout_s + ANSWER_S, lambda: self._read_until(lambda t: t.is_current, timeout_s))
        counter = self.samples.counter
        return counter[-1].t_s if counter else time.perf_counter()

    def wait_for_tick(self, timeout_s: float) -> bool:
        """Read both until the counter ticks, so that what follows, or went before, is covered.

        Returns whether it did; at once, where there is no counter, or no longer.
        """
        called_s, counter = time.perf_counter(), self.samples.counter
        return bool(
            self._ask(
                timeout_s + ANSWER_S,
                lambda: self._read_until(lambda _: counter[-1].t_s > called_s, timeout_s),
            )
        )

    def _ask(self, limit_s: float, read: Callable[[], T]) -> T | None:
        """What ``read`` returns; ``None``, from now on, where it does not come back."""
        if self.is_lost:
            return None
        try:
            return within(limit_s, read, self._check)
        except NoAnswerError:
            self._lose(NoAnswerError(ANSWER_S))
            return None

    def _lose(self, error: NoAnswerError) -> None:
        """A thread may come back at any time, so nothing that it uses is used again."""
        self.samples.faults.append(str(error))
        self.samples.is_energy_lost = True
        self.is_lost, self._ticks = True, None

    def _read_until(self, is_enough: Callable[[Ticks], bool], timeout_s: float) -> bool:
        deadline_s = time.perf_counter() + timeout_s
        while True:
            self._poll(self._power)
            if self._ticks is None:
                return False
            self._ticks.digest()
            now_s = time.perf_counter()
            if is_enough(self._ticks) or now_s >= deadline_s:
                return is_enough(self._ticks)
            time.sleep(max(0.0, min(self._ticks.due_s, deadline_s) - now_s))

    def _loop(self) -> None:
        """A lock is the cheapest thing to wait for: it is released to end the thread."""
        while True:
            wait_s = min(self._due_s() - time.perf_counter(), threading.TIMEOUT_MAX)
            if self._running.acquire(timeout=max(0.0, wait_s)):
                return
            self._asked_s = time.perf_counter()
            self._poll(self._channels)
            self._asked_s = None

    def _due_s(self) -> float:
        """When to wake: for the counter, or for a channel that cannot wait for the counter."""
        due_s = min([channel.due_s for channel in self._channels], default=math.inf)
        if self._ticks is None or due_s < self._ticks.due_s - LATE_S:
            return due_s
        return self._ticks.due_s

    def _poll(self, channels: Sequence[_Channel]) -> None:
        """Read what is due, the counter first."""
        now_s, tick_s = time.perf_counter(), math.inf
        if self._ticks is not None and self._ticks.due_s <= now_s:
            self._read_counter(self._ticks)
            now_s = time.perf_counter()
        if self._ticks is not None:
            tick_s = self._ticks.due_s
        if self._ticks is not None and self._thread is not None:
            least_s, most_s = CHECK_PERIODS_S
            check_s = min(max(CHECK_SHARE * (now_s - self._entered_s), least_s), most_s)
            for channel in self._power:
                channel.period_s = max(check_s, self._power_period_s)
        for channel in channels:
            if channel.due_s - now_s > EARLY_S or channel.makes_way(now_s, tick_s):
                continue
            try:
                now_s = channel.read(now_s)
            except MeterReadError as error:
                self.samples.faults.append(str(error))
                self.samples.is_energy_lost |= self._ticks is None and channel in self._power
                channel.due_s = math.inf

    def _read_counter(self, ticks: Ticks) -> None:
        try:
            if ticks.read():
                return
        except MeterReadError as error:
            self.samples.faults.append(str(error))
            self.samples.is_energy_lost = True
        self._ticks = None


class _Channel:
    """Something that is read every ``period_s``, or less often where a read is slow.

    What is read is kept as a sample of a ``kind``, which takes the time and the value.
    """

    MOST_PUT_OFF = 10
    """A read is put off this often at most: some counters leave no pause."""

    def __init__(
        self,
        period_s: float,
        read: Callable[[], Any],
        kind: Callable[[float, Any], Any],
        samples: list[Any],
    ) -> None:
        self.due_s = 0.0
        self.period_s = period_s
        self._read, self._kind, self._samples = read, kind, samples
        self._cost_s = 0.0
        self._put_off_count = 0

    def read(self, now_s: float) -> float:
        """Returns the time after it. A channel that has nothing to read is never due again."""
        read = timed_read(self._read)
        if read.value is None:
            self.due_s = math.inf
            return now_s
        self._samples.append(self._kind(read.middle_s, read.value))
        self._cost_s = read.cost_s
        self.due_s = read.began_s + max(self.period_s, self._cost_s / MOST_DUTY)
        self._put_off_count = 0
        return read.ended_s

    def hasten(self) -> None:
        """It is due now, if ever."""
        if self.due_s < math.inf:
            self.due_s = 0.0

    def makes_way(self, now_s: float, tick_s: float) -> bool:
        """Put off a read that would still go on when the counter is to be read."""
        if now_s + self._cost_s <= tick_s or self._put_off_count >= self.MOST_PUT_OFF:
            return False
        self._put_off_count += 1
        self.due_s = tick_s
        return True


def _has_ended(thread: threading.Thread, within_s: float) -> bool:
    thread.join(within_s)
    return not thread.is_alive()


def _status_of(meter: Meter) -> Callable[[], DeviceStatus | None]:
    """Reads the state of the meter's board; ``None`` where it tells none."""

    def read() -> DeviceStatus | None:
        status = meter.read_status()
        return None if status == DeviceStatus() else status

    return read
