"""The instrument: meters, a clock and memory gauges for one device, opened around runs."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...records import (
    BesideTrace,
    BoardState,
    EnergyReading,
    KernelCalls,
    MemoryReading,
    MemorySample,
    Phase,
    Sampling,
    Trace,
)
from ..energy.attribution import Interval
from ..meters import DeviceId, Meter, MeterUnavailableError, named_meters
from ..meters.bounded import OPEN_S, NoAnswerError, never, within
from .board_state import CLOCK_CHANGE, board_state
from .compiled import COMPILED, compiled_graphs
from .memory import Gauges, gauges_for
from .reader import MeterReader
from .readings import tick_error
from .rhythms import Rhythms
from .samples import around
from .timeline import Timeline, timeline_for
from .window import Span, Window
from .witness import LoggedWarnings, Witness

if TYPE_CHECKING:
    import torch

START_JITTER_S = 0.1
"""What is measured begins up to this much later, so that runs meet a slow counter at different
points."""


@dataclass
class Recording:
    """What was observed in one window: phases with their energy, memory, and the raw trace.

    ``faults`` say why it must not count, ``flags`` what else was remarked meanwhile;
    ``unmeasured_s`` are seconds of work on the picture that no phase is for.

    Times of ``vram_samples`` and the traces count from the start of the window. ``beside_meters``
    are those that were read beside the first one; phases have what they told, ``beside_traces``
    their samples.
    """

    started_at: str = ""
    start_s: float = 0.0
    end_s: float = 0.0
    phases: tuple[Phase, ...] = ()
    energy_note: str = ""
    beside_meters: tuple[str, ...] = ()
    vram: MemoryReading | None = None
    vram_samples: tuple[MemorySample, ...] = ()
    allocator_peak_bytes: int | None = None
    allocator_mean_bytes: float | None = None
    allocator_source: str = ""
    vram_note: str = ""
    rss: MemoryReading | None = None
    kernel_calls: tuple[KernelCalls, ...] = ()
    samplings: tuple[Sampling, ...] = ()
    faults: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    unmeasured_s: dict[str, float] = field(default_factory=dict)
    board: BoardState = field(default_factory=BoardState)
    trace: Trace = field(default_factory=Trace)
    beside_traces: tuple[BesideTrace, ...] = ()


STOOD_STILL = "the process stood still for {:.1f} s"

SETTLE_S, SETTLE_LIMIT_S = 2.0, 20.0
"""How long the SM clock stands still before idle power is measured, and how long to wait for it."""


class Instrument:
    """Enter it once around all runs of an experiment; open a :meth:`record` for each run.

    With ``spec="auto"`` a machine without a meter still gives times and memory, and every energy
    is ``None`` with the reason. A meter asked for by name must exist. Of several meters,
    ``auto+rapl``, the first is the run's; the others are read beside it, each of a scope of its
    own.

    ``rhythms`` has how the meter's counter ticked before, and is told how it ticks: the next
    instrument then need not look for that, which takes many reads. ``check`` is called while a
    meter is waited for; what it raises, a cancellation, ends the wait.

    Raises:
        MeterUnavailableError: on entering, where a meter asked for by name cannot be opened, or two
            of them cover the same.
    """

    def __init__(
        self,
        device: torch.device,
        device_id: DeviceId,
        spec: str = "auto",
        rhythms: Rhythms | None = None,
        check: Callable[[], None] = never,
    ) -> None:
        self.device_id = device_id
        self._rhythms = rhythms or Rhythms()
        self._spec = spec
        self._check = check
        self._timeline: Timeline = timeline_for(device)
        self._gauges: Gauges = gauges_for(device)

    @property
    def meter(self) -> Meter | None:
        """The run's own meter."""
        return self._main.meter

    def __enter__(self) -> Instrument:
        try:
            first, *others = within(OPEN_S, lambda: named_meters(self._spec), self._check)
        except NoAnswerError as error:
            raise MeterUnavailableError(f"{self._spec}: {error}") from error
        with ExitStack() as opened:
            self._main = self._opened(first, opened, self._gauges)
            self._readers = [self._main]
            for spec in others:
                self._readers += self._opened_beside(spec, opened)
            self._release = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._release.close()

    def _opened(self, spec: str, stack: ExitStack, gauges: Gauges | None = None) -> MeterReader:
        reader = MeterReader(spec, self.device_id, self._rhythms, self._check, gauges)
        reader.start()
        stack.callback(reader.close)
        return reader

    def _opened_beside(self, spec: str, stack: ExitStack) -> list[MeterReader]:
        """A reader of another scope than those before it; none where its meter is read already.

        Raises:
            MeterUnavailableError: there is no such meter, or another one covers the same.
        """
        with ExitStack() as opened:
            reader = self._opened(spec, opened)
            if reader.meter is None:
                raise MeterUnavailableError(reader.refusal)
            for known in filter(None, (other.meter for other in self._readers)):
                if known.name == reader.meter.name:
                    return []
                if known.scope == reader.meter.scope:
                    raise MeterUnavailableError(
                        f"{known.name} and {reader.meter.name} both measure the scope "
                        f"{known.scope!r}, of which a run has one energy",
                        "name one of them, or measure a run with each",
                    )
            stack.enter_context(opened.pop_all())
        return [reader]

    @contextmanager
    def record(self) -> Iterator[tuple[Window, Recording]]:
        """Measure what the body does. The recording is filled in when the body is left.

        A tick of the counter goes by before the body begins and another one after it has ended, so
        that the power of rest is known; the body begins at random between ticks.
        """
        recording, window = Recording(), Window(self._timeline)
        quiet_s = [reader.resume() for reader in self._readers]
        have_ticked = [reader.wait_for_tick() for reader in self._readers]
        witness, logged, compiled = Witness(), LoggedWarnings(), compiled_graphs()
        try:
            with ExitStack() as reading:
                for reader in self._readers:
                    reading.enter_context(reader.sampler)
                if have_ticked[0]:
                    time.sleep(random.uniform(0, START_JITTER_S))
                self._gauges.reset_allocator_peak()
                with witness, logged, window:
                    yield window, recording
        finally:
            if witness.stood_still_s:
                window.faults.append(STOOD_STILL.format(witness.stood_still_s))
            if compiled_graphs() != compiled:
                window.faults.append(COMPILED)
            recording.flags = tuple(logged.messages)
            for reader in self._readers:
                for _ in range(2):
                    reader.wait_for_tick()
            now_s = time.perf_counter()
            self._fill(recording, window, [(since_s, now_s) for since_s in quiet_s])

    def idle_power(
        self, seconds: float, pause: Callable[[float], None] = time.sleep
    ) -> float | None:
        """Mean power over ``seconds`` in which nothing runs; ``None`` where no meter can tell.

        Waits before that until the SM clock stands still, :data:`SETTLE_LIMIT_S` at most. ``pause``
        does the waiting, so that it can be cancelled.
        """
        self._timeline.stop()
        self._main.resume()
        with self._main.sampler:
            self._settle(pause)
            start_s = self._timeline.start()
            pause(seconds)
            idle = Interval("idle", start_s, self._timeline.stop())
        self._main.wait_for_tick()
        self._main.see_power(idle.start_s, idle.end_s, is_work=False)
        readings, _ = self._main.energies([idle])
        return readings[0].energy_j / idle.duration_s if readings[0] else None

    def _settle(self, pause: Callable[[float], None]) -> None:
        """Return at once where the meter gives no clock."""
        status, began_s = self._main.sampler.samples.status, time.perf_counter()
        while status and time.perf_counter() < began_s + SETTLE_LIMIT_S:
            pause(SETTLE_S)
            clocks = [
                sample.status.sm_clock_hz
                for sample in around(status, time.perf_counter() - SETTLE_S, math.inf)
                if sample.status.sm_clock_hz is not None
            ]
            if not clocks or max(clocks) - min(clocks) <= CLOCK_CHANGE * max(clocks):
                return

    def _fill(
        self, recording: Recording, window: Window, reaches_s: list[tuple[float, float]]
    ) -> None:
        """``reaches_s`` are from when to when nothing but the window ran, for each reader."""
        start_s, end_s = window.start_s, window.end_s
        recording.started_at = window.started_at
        recording.start_s, recording.end_s = start_s, end_s
        self._fill_energies(recording, window, reaches_s)
        recording.kernel_calls = tuple(window.kernel_calls)
        recording.samplings = window.samplings
        recording.faults = tuple(window.faults)
        recording.unmeasured_s = dict(window.unmeasured_s)
        samples = self._main.sampler.samples
        traces = [
            _trace(reader, start_s, reach_s)
            for reader, reach_s in zip(self._readers, reaches_s, strict=True)
        ]
        recording.trace = traces[0]
        recording.beside_traces = tuple(map(BesideTrace, recording.beside_meters, traces[1:]))
        recording.vram_samples = tuple(
            s._replace(t_s=s.t_s - start_s) for s in around(samples.vram, start_s, end_s)
        )
        recording.vram = _memory(samples.vram, start_s, end_s, self._main.vram_source)
        recording.allocator_peak_bytes = self._gauges.allocator_peak_bytes()
        allocator = _memory(samples.allocator, start_s, end_s, self._gauges.allocator_source)
        recording.allocator_mean_bytes = allocator.mean_bytes if allocator else None
        recording.allocator_source = self._gauges.allocator_source
        recording.vram_note = "" if recording.vram else self._gauges.vram_note
        recording.board = self._board(start_s, end_s)
        recording.rss = _memory(samples.rss, start_s, end_s, "resident set of the process, sampled")

    def _fill_energies(
        self, recording: Recording, window: Window, reaches_s: list[tuple[float, float]]
    ) -> None:
        intervals = [Interval(span.name, span.start_s, span.end_s) for span in window.spans]
        told = []
        for reader, reach_s in zip(self._readers, reaches_s, strict=True):
            reader.see_power(window.start_s, window.end_s, is_work=True)
            told.append(reader.energies(intervals, reach_s))
        (main, note), *others = told
        recording.beside_meters = tuple(reader.name for reader in self._readers[1:])
        notes = [
            text if text.startswith(name) else f"{name}: {text}"
            for name, (_, text) in zip(recording.beside_meters, others, strict=True)
            if text
        ]
        recording.energy_note = "; ".join(filter(None, [note, *notes]))
        recording.phases = tuple(
            _phase(span, window.start_s, main[index], [readings[index] for readings, _ in others])
            for index, span in enumerate(window.spans)
        )

    def _board(self, start_s: float, end_s: float) -> BoardState:
        main, status = self._main, self._main.sampler.samples.status
        busy = [s.status.gpu_utilisation for s in status if start_s < s.t_s <= end_s]
        state = board_state(
            [sample.status for sample in around(status, start_s, end_s)],
            main.power_limit_w,
            [share for share in busy if share is not None],
        )
        return replace(
            state,
            vram_total_bytes=main.vram_total_bytes,
            power_default_limit_w=main.default_limit_w,
        )


def _trace(reader: MeterReader, origin_s: float, reach_s: tuple[float, float]) -> Trace:
    samples, meter = reader.sampler.samples, reader.meter
    counter = tuple(s._replace(t_s=s.t_s - origin_s) for s in around(samples.counter, *reach_s))
    power = tuple(s._replace(t_s=s.t_s - origin_s) for s in around(samples.power, *reach_s))
    if meter is None or not counter:
        return Trace(power=power)
    return Trace(counter, power, tick_error(samples, meter, *reach_s))


def _phase(
    span: Span,
    origin_s: float,
    energy: EnergyReading | None,
    beside: list[EnergyReading | None],
) -> Phase:
    return Phase(
        name=span.name,
        start_s=span.start_s - origin_s,
        duration_s=span.end_s - span.start_s,
        energy=energy,
        step_ends_s=tuple(step_s - origin_s for step_s in span.step_ends_s),
        nfe=span.nfe,
        beside=tuple(reading for reading in beside if reading is not None),
    )


def _memory(
    samples: list[MemorySample], start_s: float, end_s: float, source: str
) -> MemoryReading | None:
    used = [sample.used_bytes for sample in around(samples, start_s, end_s)]
    if not used:
        return None
    return MemoryReading(max(used), sum(used) / len(used), source, len(used))
