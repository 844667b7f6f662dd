"""What else happened while a run went on: the process stood still, or warnings were logged."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

PERIOD_S = 0.1
"""How often the witness looks at the clock."""

LEAST_GAP_S = 1.0
"""A shorter gap may be one that a busy machine makes."""

LEAST_CPU_SHARE = 0.02
"""A process that computed for less than this part of a gap did not merely wait for its turn."""

BEFORE = 1.5 * PERIOD_S
"""A process that is stopped has computed for a while since the last look, as it did before."""

FIRST_CPU_RATE = 1.0
"""Processor seconds a second of a process that nobody has looked at yet."""

SCHEDSTAT = Path("/proc/thread-self/schedstat")

LEAST_SUSPENDED_S = 0.1
MOST_CHARACTERS = 200


class Witness:
    """Enter it around what is measured; ``stood_still_s`` says how long the process did not run.

    A thread looks at the clock. Where it comes late, has not been waiting for a processor (which
    Linux tells), and the whole process has used next to no processor time meanwhile, the process
    was stopped: by a signal, a debugger, swapping, or a pause of its virtual machine. Time in which
    the machine was suspended is told by the difference of two clocks, of which one goes on
    meanwhile.
    """

    def __init__(self) -> None:
        self.stood_still_s = 0.0
        self._leave = threading.Lock()

    def __enter__(self) -> Witness:
        self.began(time.perf_counter(), time.process_time())
        self._suspended_s = suspended_s()
        self._leave.acquire()
        self._thread = threading.Thread(target=self._loop, name="wattbench-witness", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.release()
        self._thread.join()
        suspended = suspended_s() - self._suspended_s
        if suspended > LEAST_SUSPENDED_S:
            self.stood_still_s += suspended

    def began(self, now_s: float, cpu_s: float, waited_s: float | None = None) -> None:
        """Look for the first time; ``waited_s`` is how long the thread has waited for its turn."""
        self._now_s, self._cpu_s, self._waited_s = now_s, cpu_s, waited_s
        self._cpu_rate = FIRST_CPU_RATE

    def saw(self, now_s: float, cpu_s: float, waited_s: float | None = None) -> None:
        """Look again, ``PERIOD_S`` later if nothing came in between."""
        passed_s, computed_s = now_s - self._now_s, cpu_s - self._cpu_s
        gap_s, before_s = passed_s - PERIOD_S, 0.0
        if waited_s is not None and self._waited_s is not None:
            gap_s -= waited_s - self._waited_s
            before_s = BEFORE * self._cpu_rate
        if gap_s < LEAST_GAP_S or computed_s - before_s >= LEAST_CPU_SHARE * gap_s:
            self._cpu_rate = computed_s / passed_s if passed_s > 0 else self._cpu_rate
        else:
            self.stood_still_s += gap_s
        self._now_s, self._cpu_s, self._waited_s = now_s, cpu_s, waited_s

    def _loop(self) -> None:
        self._waited_s = waited_for_turn_s()
        while not self._leave.acquire(timeout=PERIOD_S):
            self.saw(time.perf_counter(), time.process_time(), waited_for_turn_s())
        self.saw(time.perf_counter(), time.process_time(), waited_for_turn_s())


def waited_for_turn_s() -> float | None:
    """How long this thread was ready to run and had no processor; ``None`` if nobody tells."""
    try:
        return int(SCHEDSTAT.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def suspended_s() -> float:
    """How long the machine was suspended since it booted; 0 where its clocks do not tell."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class LoggedWarnings(logging.Handler):
    """Enter it around what is measured; ``messages`` are what this thread logged as warnings.

    Each once, on one line.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def __enter__(self) -> LoggedWarnings:
        self._thread_id = threading.get_ident()
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        message = " ".join(record.getMessage().split()).replace(";", ",")[:MOST_CHARACTERS]
        if record.thread == self._thread_id and message and message not in self.messages:
            self.messages.append(message)
