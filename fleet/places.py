"""Where assignments are carried out: this machine's own, without Ray."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from .cards import Machine, this_machine
from .worker import Assignment, Outcome, work

HERE = "here"


class LostError(Exception):
    """A worker is gone, or ``place_is_gone``; what was measured is in the journal there."""

    def __init__(self, message: str, place_is_gone: bool = False) -> None:
        super().__init__(message)
        self.place_is_gone = place_is_gone


class Places(Protocol):
    """Machines that work. A name of a place is never given to another one."""

    def machines(self) -> Mapping[str, Machine]:
        """Those that can be reached now, by the names of their places."""
        ...

    def silent(self) -> Sequence[str]:
        """Why others cannot be reached, a sentence each."""
        ...

    def submit(self, place: str, assignment: Assignment, share: float) -> Future[Outcome]:
        """Begin; ``share`` is how much of the machine it takes, 1 for all of it.

        The future runs once the machine has begun, and can be cancelled until then. It raises
        LostError where the worker is gone.
        """
        ...


class Here:
    """This machine alone. What it runs ends with this process."""

    def __init__(self, do: Callable[[Assignment], Outcome] = work) -> None:
        self._do = do

    def machines(self) -> Mapping[str, Machine]:
        return {HERE: this_machine()}

    def silent(self) -> Sequence[str]:
        return ()

    def submit(self, place: str, assignment: Assignment, share: float) -> Future[Outcome]:
        future: Future[Outcome] = Future()

        def carry_out() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(self._do(assignment))
            except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
                future.set_exception(error)

        # Daemons: after Ctrl-C nobody waits for them, and their children end with the process.
        threading.Thread(target=carry_out, daemon=True).start()
        return future
