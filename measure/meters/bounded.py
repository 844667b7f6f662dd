"""No wait for a meter is without end: a vendor's library may block, and nothing can wake it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from .base import MeterReadError

ANSWER_S = 1.0
"""A meter that has not answered by then is given up for this run. Reads take milliseconds."""

OPEN_S = 10.0
"""Opening loads a library and may wake a board from its deepest sleep, which takes seconds."""

SLICE_S = 0.1
"""A wait is made of such slices: a process that was stopped meanwhile loses one, not all."""

T = TypeVar("T")


class NoAnswerError(MeterReadError):
    """A meter did not answer in time; whether it ever will is not known."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the meter did not answer within {limit_s:g} s")


def never() -> None:
    """Nobody cancels."""


def within(limit_s: float, call: Callable[[], T], check: Callable[[], None] = never) -> T:
    """What ``call`` returns, or raises, in a thread of its own.

    The thread of a call that never returns is left behind; it does not keep the process from
    ending.

    Args:
        check: called every :data:`SLICE_S` of the wait; what it raises, a cancellation, ends it.

    Raises:
        NoAnswerError: it has not returned within ``limit_s``.
    """
    answers: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # noqa: BLE001  (raised again where it was asked for)
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=work, name="wattbench-ask", daemon=True).start()
    wait(limit_s, done.wait, check)
    if errors:
        raise errors[0]
    return answers[0]


def wait(
    limit_s: float, ended_within: Callable[[float], bool], check: Callable[[], None] = never
) -> None:
    """Wait in slices for what ``ended_within(seconds)`` waits for.

    Raises:
        NoAnswerError: it has not ended within ``limit_s``.
    """
    for _ in range(max(1, round(limit_s / SLICE_S))):
        if ended_within(SLICE_S):
            return
        check()
    raise NoAnswerError(limit_s)
