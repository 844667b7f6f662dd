"""What is being measured in this Forge now: one thing at a time, as Forge makes one at a time."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

from modules import processing

from ...incoming import IncomingError
from ...measure.meters import MeterUnavailableError
from ...measure.protocol.journal import read
from ...measure.protocol.session import open_journal
from ...processes.identity import process_id
from ...records import Run
from ...requirements import PackagesMissingError
from .axes import Changed
from .benchmark import Benchmark
from .generation import INNER, Generation
from .hooks import replaced
from .host import HOST
from .options import options_of
from .storage import AS_SET

log = logging.getLogger(__name__)

NOT_MEASURED = (MeterUnavailableError, PackagesMissingError, IncomingError, OSError)
"""Why a generation that is measured by the way goes on without."""


class Refused:
    """A generation that is asked for what cannot be: it fails, and says why."""

    is_inside = False

    def __init__(self, p: Any, error: ValueError) -> None:
        self._p, self._error = p, error
        self._stack = ExitStack()

    def begin(self) -> None:
        self._stack.enter_context(replaced(processing, INNER, self._inner))

    def is_of(self, p: Any) -> bool:
        return p is self._p

    def batch_done(self, images: Any) -> None:
        """There is none."""

    def finished(self) -> tuple[Run, ...]:
        return ()

    def close(self) -> None:
        self._stack.close()

    def _inner(self, original: Any, p: Any) -> Any:
        if p is self._p:
            self.close()
            raise self._error
        return original(p)


class Activity:
    """Kept by the host; a generation that other scripts make within ours is a part of it.

    ``latest`` are the runs of what was measured last.
    """

    def __init__(self) -> None:
        self.current: Generation | Benchmark | Refused | None = None
        self.latest: tuple[Run, ...] = ()

    def begin(self, p: Any, arguments: tuple[Any, ...]) -> None:
        """Forge is about to make the generation ``p``; what was left over of another ends."""
        if self.current is not None and self.current.is_inside:
            return
        self.end()
        try:
            options = options_of(p, arguments)
        except ValueError as error:
            self.current = Refused(p, error)
            self.current.begin()
            return
        if options.weights != AS_SET:
            HOST.kept(Changed).set_weights(options.weights)
        if options.benchmark:
            self.current = Benchmark(p, options, self._tell)
            self.current.begin()
        elif options.is_wanted:
            generation = Generation(p, options)
            try:
                generation.begin()
                self.current = generation
            except NOT_MEASURED as error:
                log.warning("WattBench does not measure this generation: %s", error)
                p.comment(f"WattBench: not measured, because {error}")

    def batch_done(self, p: Any, images: Any) -> None:
        """The pictures of a batch of ``p`` are there."""
        if self.current is not None and self.current.is_of(p):
            self.current.batch_done(images)

    def finished(self, p: Any) -> tuple[Run, ...]:
        """Forge has made all of ``p``; the run of it, if it was measured by itself."""
        if self.current is None or not self.current.is_of(p):
            return ()
        runs = self.current.finished()
        if runs:
            self._tell(runs)
        return runs

    def end(self) -> None:
        """Nothing is measured any more, and no hook is left."""
        if self.current is not None:
            self.current.close()
            self.current = None

    def _tell(self, runs: tuple[Run, ...]) -> None:
        self.latest = runs


def runs_of_this_process() -> list[Run]:
    """Every run that the journal holds of this process, in order."""
    data = open_journal(HOST).path.read_bytes()
    return [run for run in read(data).runs if run.process_id == process_id()]
