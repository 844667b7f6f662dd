"""What boards do now, and the energy of the job that runs: read only while somebody watches."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..meters.bounded import ANSWER_S, OPEN_S, NoAnswerError
from .device import LiveDevice, LiveReading
from .host import HostGauge, HostReading

TICK_S = 0.1
"""How often the thread looks whether a job began or ended, and reads power while one runs."""

LEAST_LAPSE_S = 6.0
"""A watcher that has not called for this long is gone, or for three of its intervals.

A server that loads a model may keep its watchers waiting for seconds.
"""

INTERVAL_RANGE_S = (0.5, 10.0)
"""Shortest and longest interval that a watcher may ask for."""

UNSEEN_START = "nobody watched when this job began"
UNSEEN_END = "nobody watched when this job ended"

COST_WINDOW_S = 5.0
"""The thread's cost is the mean over at least this long."""


@dataclass(frozen=True)
class LiveJob:
    """The job that runs, or the one that ran last; ``duration_s`` is what was seen of it."""

    job_id: str
    is_running: bool
    duration_s: float


@dataclass(frozen=True)
class LiveState:
    """All that a watcher is told.

    ``cost_share`` is the CPU time of the reading thread and of its watchers' requests, as a share
    of one core; ``None`` until it has been observed for some seconds. ``sequence`` rises by one
    with every reading.
    """

    sequence: int
    devices: tuple[LiveReading, ...]
    job: LiveJob | None
    cost_share: float | None
    host: HostReading | None = None


class LiveMonitor:
    """Reads devices in one thread, which exists only while :meth:`watch` is called regularly.

    The devices stay open between watches, so a job that goes on while nobody looks keeps its
    energy where its meter is a counter.

    Args:
        open_devices: opens all devices; called in the thread, again where one of them has no meter.
        running_job: the id of the job that runs now, or ``None``; called ten times a second, so a
            job's borders are known to a tenth of a second.
        push: gives a reading to a watcher that asked for it.
    """

    def __init__(
        self,
        open_devices: Callable[[], Sequence[LiveDevice]],
        running_job: Callable[[], str | None],
        push: Callable[[str, LiveState], None] = lambda watcher, state: None,
    ) -> None:
        self._open_devices = open_devices
        self._running_job = running_job
        self._push = push
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._watchers: dict[str, _Watcher] = {}
        self._devices: list[LiveDevice] = []
        self._job: _Span | None = None
        self._state: LiveState | None = None
        self._sequence = 0
        self._charged_s = 0.0
        # Until when a meter that is being asked may take to answer.
        self._patience_until_s = math.inf

    @property
    def is_reading(self) -> bool:
        """Whether the thread exists."""
        with self._lock:
            return self._thread is not None

    def watch(
        self, watcher: str, interval_s: float, is_there: Callable[[], bool] | None = None
    ) -> LiveState | None:
        """Say that ``watcher`` looks, and get the last reading; ``None`` until there is one.

        Args:
            watcher: any name, one for each who looks.
            interval_s: how often it will call; brought into ``INTERVAL_RANGE_S``.
            is_there: whether it still looks: then it need not call again, and each reading is
                pushed to it.
        """
        low, high = INTERVAL_RANGE_S
        with self._lock:
            self._watchers[watcher] = _Watcher(
                min(max(interval_s, low), high), time.perf_counter(), is_there
            )
            if self._thread is None:
                self._state = None
                self._stop.clear()
                self._thread = threading.Thread(
                    target=self._loop, name="wattbench-live", daemon=True
                )
                self._thread.start()
            if time.perf_counter() > self._patience_until_s:
                return self._silence()
            return self._state

    def leave(self, watcher: str) -> None:
        """Say that ``watcher`` looks no longer."""
        with self._lock:
            self._watchers.pop(watcher, None)

    def charge(self, cpu_s: float) -> None:
        """Add CPU time that was spent for watchers outside of the thread."""
        with self._lock:
            self._charged_s += cpu_s

    def close(self) -> None:
        """Stop reading and close the devices; those that do not answer are left as they are."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join(ANSWER_S)
        if thread is None or not thread.is_alive():
            self._close_devices()

    def _silence(self) -> LiveState:
        """What is known while a meter does not answer: nothing but that. It may come back."""
        reason = str(NoAnswerError(ANSWER_S))
        self._sequence += 1
        state = self._state or LiveState(0, (LiveReading("", ""),), None, None)
        blank = tuple(
            LiveReading(
                seen.device,
                seen.name,
                seen.meter,
                power_reason=reason,
                energy_reason=reason,
                vram_reason=reason,
            )
            for seen in state.devices
        )
        return replace(state, sequence=self._sequence, devices=blank)

    def _loop(self) -> None:
        try:
            self._patience_until_s = time.perf_counter() + OPEN_S
            self._refresh_devices()
            cost, host = _Cost(), HostGauge()
            read_s = looked_s = -math.inf
            while (interval_s := self._shortest_interval()) is not None:
                now_s = time.perf_counter()
                self._patience_until_s = now_s + ANSWER_S
                self._follow_job(now_s, now_s - looked_s)
                looked_s = now_s
                if now_s >= read_s + interval_s:
                    self._publish(now_s, cost, host)
                    read_s = now_s
                self._patience_until_s = math.inf
                self._stop.wait(TICK_S)
        finally:
            self._patience_until_s = math.inf
            # After an error, which the host logs, the next call of a watcher starts anew.
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _shortest_interval(self) -> float | None:
        """``None`` where nobody watches: then this thread counts as gone and has to end."""
        now_s = time.perf_counter()
        with self._lock:
            for name, watcher in list(self._watchers.items()):
                if watcher.is_gone(now_s):
                    del self._watchers[name]
            if self._watchers and not self._stop.is_set():
                return min(watcher.interval_s for watcher in self._watchers.values())
            self._thread = None
            return None

    def _refresh_devices(self) -> None:
        if not self._devices or not all(device.is_healthy for device in self._devices):
            self._close_devices()
            self._devices = list(self._open_devices())
            self._job = None

    def _close_devices(self) -> None:
        for device in self._devices:
            device.close()
        self._devices = []

    def _follow_job(self, now_s: float, gap_s: float) -> None:
        """``gap_s`` is how long ago it was looked before: a border lies somewhere in it."""
        running, job = self._running_job(), self._job
        # Until the first reading nobody has looked: what changed by then changed unseen.
        is_first = self._state is None
        if job is not None and job.end_s is None:
            if running == job.job_id:
                for device in self._devices:
                    device.follow_job(now_s)
                return
            job.end_s = now_s
            for device in self._devices:
                device.end_job(now_s, UNSEEN_END if is_first else "", gap_s)
        if running is not None:
            if not is_first:
                # A meter that failed during the job before is tried again for this one.
                self._refresh_devices()
            self._job = _Span(running, now_s)
            for device in self._devices:
                device.begin_job(now_s, UNSEEN_START if is_first else "", gap_s)

    def _publish(self, now_s: float, cost: _Cost, host: HostGauge) -> None:
        devices = tuple(device.read(now_s) for device in self._devices)
        job = self._job
        with self._lock:
            self._sequence += 1
            charged_s, self._charged_s = self._charged_s, 0.0
            self._state = state = LiveState(
                sequence=self._sequence,
                devices=devices,
                job=None if job is None else job.seen_at(now_s),
                cost_share=cost.share(charged_s),
                host=host.read(),
            )
            pushed = [name for name, one in self._watchers.items() if one.is_there is not None]
        for name in pushed:
            self._push(name, state)


@dataclass(frozen=True)
class _Watcher:
    interval_s: float
    seen_s: float
    is_there: Callable[[], bool] | None

    def is_gone(self, now_s: float) -> bool:
        if self.is_there is not None:
            return not self.is_there()
        return now_s - self.seen_s > max(LEAST_LAPSE_S, 3 * self.interval_s)


@dataclass
class _Span:
    job_id: str
    start_s: float
    end_s: float | None = None

    def seen_at(self, now_s: float) -> LiveJob:
        end_s = now_s if self.end_s is None else self.end_s
        return LiveJob(self.job_id, self.end_s is None, end_s - self.start_s)


class _Cost:
    """CPU time of the thread that makes it, and what was charged, as a share of one core."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()
        self._start_cpu_s = time.thread_time()
        self._charged_s = 0.0
        self._share: float | None = None

    def share(self, charged_s: float) -> float | None:
        self._charged_s += charged_s
        now_s, now_cpu_s = time.perf_counter(), time.thread_time()
        elapsed_s = now_s - self._start_s
        if elapsed_s >= COST_WINDOW_S:
            self._share = (now_cpu_s - self._start_cpu_s + self._charged_s) / elapsed_s
            self._start_s, self._start_cpu_s, self._charged_s = now_s, now_cpu_s, 0.0
        return self._share
