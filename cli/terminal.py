"""What a batch tells, printed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


class Terminal:
    """Prints lines, and how far a node is where somebody is looking: ``12/90, 1:05 left``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None

    def say(self, text: str) -> None:
        self._first = None
        print(text, flush=True)

    def progress(self, done: int, total: int) -> None:
        if not sys.stdout.isatty():
            return
        now_s = self._clock()
        if self._first is None or done < self._first[0]:
            self._first = done, now_s
        first, began_s = self._first
        left = ""
        if done > first:
            minutes, seconds = divmod(
                round((total - done) * (now_s - began_s) / (done - first)), 60
            )
            left = f", {minutes}:{seconds:02} left"
        # What was longer before is wiped by what the line ends with.
        print(f"  {done}/{total}{left}\x1b[K", end="\n" if done == total else "\r", flush=True)
