"""Signals after which a command cleans up and ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

CANCELLING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@contextlib.contextmanager
def cancelling() -> Iterator[None]:
    """Within the block the first of :data:`CANCELLING` raises KeyboardInterrupt, as Ctrl-C does.

    Later ones are ignored: they would disturb the cleaning up, which takes seconds.
    """
    previous = {number: signal.signal(number, _cancel) for number in CANCELLING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _cancel(number: int, frame: FrameType | None) -> None:
    for other in CANCELLING:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Within the block signals wait; they are delivered at its end.

    Starting a child needs it: an exception between its birth and the assignment of its handle would
    leave it running with nobody to stop it. Other threads than the main one get no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _: waiting.append(number))
        for number in CANCELLING
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for number in waiting:
            signal.raise_signal(number)
