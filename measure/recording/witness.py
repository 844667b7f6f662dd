"""What else happened while a run went on: the process stood still, or warnings were logged."""

from __future__ import annotations

import logging
import threading
import time

PERIOD_S = 0.25
"""How often the witness looks at the clock."""

LEAST_GAP_S = 1.0
"""A shorter gap may be one that a busy machine makes."""

LEAST_CPU_SHARE = 0.02
"""A process that computed for less than this part of a gap did not merely wait for its turn."""

LEAST_SUSPENDED_S = 0.1
MOST_CHARACTERS = 200


class Witness:
    """Enter it around what is measured; ``stood_still_s`` says how long the process did not run.

    A thread looks at the clock. Where it comes late, and the whole process has used next to no
    processor time meanwhile, the process was stopped: by a signal, a debugger, swapping, or a
    pause of its virtual machine. Time in which the machine was suspended is told by the difference
    of two clocks, of which one goes on meanwhile.
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
        self.saw(time.perf_counter(), time.process_time())
        suspended = suspended_s() - self._suspended_s
        if suspended > LEAST_SUSPENDED_S:
            self.stood_still_s += suspended

    def began(self, now_s: float, cpu_s: float) -> None:
        """Look for the first time."""
        self._now_s, self._cpu_s = now_s, cpu_s

    def saw(self, now_s: float, cpu_s: float) -> None:
        """Look again, ``PERIOD_S`` later if nothing came in between."""
        gap_s = now_s - self._now_s - PERIOD_S
        if gap_s >= LEAST_GAP_S and cpu_s - self._cpu_s < LEAST_CPU_SHARE * gap_s:
            self.stood_still_s += gap_s
        self.began(now_s, cpu_s)

    def _loop(self) -> None:
        while not self._leave.acquire(timeout=PERIOD_S):
            self.saw(time.perf_counter(), time.process_time())


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
