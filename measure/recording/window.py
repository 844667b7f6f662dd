"""One measured run: synchronise, borders, synchronise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from ...records import KernelCalls, Sampling
from .timeline import Timeline


@dataclass(frozen=True)
class Span:
    """A phase as it was observed, in ``time.perf_counter`` seconds."""

    name: str
    start_s: float
    end_s: float
    step_ends_s: tuple[float, ...] = ()
    nfe: int | None = None


@dataclass
class OpenSpan:
    """A phase that is going on; marks are the timeline's."""

    name: str
    start: Any
    end: Any = None
    steps: list[Any] = field(default_factory=list)
    nfe: int | None = None


class Window:
    """Entered around a run; :meth:`phase` marks its parts, which may not overlap.

    Who knows which kernels ran adds to ``kernel_calls``; who saw a sampling calls :meth:`sampled`;
    who knows that the run must not count adds the reason to ``faults``; seconds of work on the
    picture that no phase is for go into ``unmeasured_s``, by what it is.
    After leaving, ``spans``, ``start_s`` and
    ``end_s`` hold what was observed, also when the run raised. A phase that was cut short by an
    error is not kept.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.started_at = ""
        self.start_s = self.end_s = 0.0
        self.spans: tuple[Span, ...] = ()
        self.kernel_calls: list[KernelCalls] = []
        self.faults: list[str] = []
        self.unmeasured_s: defaultdict[str, float] = defaultdict(float)
        self.samplings: tuple[Sampling, ...] = ()
        self._sampled: list[tuple[Sampling, OpenSpan | None, list[tuple[Any, Any]]]] = []
        self._timeline = timeline
        self._closed: list[OpenSpan] = []

    def __enter__(self) -> Window:
        self.started_at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self.start_s = self._timeline.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end_s = self._timeline.stop()
        self.spans = tuple(self._resolve(span) for span in self._closed)
        self.samplings = tuple(self._timed(*sampled) for sampled in self._sampled)

    @contextmanager
    def phase(self, name: str) -> Iterator[OpenSpan]:
        """The part of the run named ``name``, one of :data:`.records.PHASES`."""
        span = OpenSpan(name, self._timeline.mark())
        yield span
        span.end = self._timeline.mark()
        self._closed.append(span)

    @property
    def has_phases(self) -> bool:
        """Whether a phase has been marked and is over."""
        return bool(self._closed)

    def mark(self) -> Any:
        """A border, here, for :meth:`add`."""
        return self._timeline.mark()

    def add(self, name: str, start: Any, end: Any) -> None:
        """A phase between two marks, where it is known only afterwards what it was."""
        self._closed.append(OpenSpan(name, start, end))

    def step(self, span: OpenSpan) -> None:
        """The end of a sampling step within ``span``."""
        span.steps.append(self._timeline.mark())

    def sampled(
        self, sampling: Sampling, span: OpenSpan | None, in_control: list[tuple[Any, Any]]
    ) -> None:
        """What was counted of a sampling, its closed phase, and marks around its ControlNets."""
        self._sampled.append((sampling, span, in_control))

    def _timed(
        self, sampling: Sampling, span: OpenSpan | None, in_control: list[tuple[Any, Any]]
    ) -> Sampling:
        seconds = self._timeline.seconds
        control_s = sum(seconds(end) - seconds(start) for start, end in in_control)
        return replace(
            sampling,
            duration_s=None if span is None else seconds(span.end) - seconds(span.start),
            control_time_s=control_s if in_control else None,
        )

    def _resolve(self, span: OpenSpan) -> Span:
        seconds = self._timeline.seconds
        steps = tuple(seconds(step) for step in span.steps)
        return Span(span.name, seconds(span.start), seconds(span.end), steps, span.nfe)
