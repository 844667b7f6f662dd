"""The instrument: a meter, a clock and memory gauges for one device, opened around runs."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...records import (
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
from ..meters import DeviceId, Meter, MeterReadError, MeterUnavailableError, open_meter
from ..meters.bounded import ANSWER_S, OPEN_S, NoAnswerError, never, within
from ..meters.plausible import StillPower
from .board_state import CLOCK_CHANGE, board_state
from .memory import Gauges, gauges_for
from .readings import read_energies, tick_error
from .rhythms import Rhythms
from .sampler import Sampler
from .samples import around
from .timeline import Timeline, timeline_for
from .window import Span, Window
from .witness import LoggedWarnings, Witness

if TYPE_CHECKING:
    import torch

TICK_TIMEOUT_S = 2.0
"""How long to wait for a counter's tick before and after what is measured.

Ticks come every 0.1 s at most; a busy machine may hold the sampler up for several times as long."""

REOPEN_S = 2.0
"""How long a meter that failed is waited for before each later run."""

START_JITTER_S = 0.1
"""What is measured begins up to this much later, so that runs meet a slow counter at different
points."""


@dataclass
class Recording:
    """What was observed in one window: phases with their energy, memory, and the raw trace.

    ``faults`` say why it must not count, ``flags`` what else was remarked meanwhile;
    ``unmeasured_s`` are seconds of work on the picture that no phase is for.

    Times of ``vram_samples`` and ``trace`` count from the start of the window.
    """

    started_at: str = ""
    start_s: float = 0.0
    end_s: float = 0.0
    phases: tuple[Phase, ...] = ()
    energy_note: str = ""
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


STOOD_STILL = "the process stood still for {:.1f} s"

SETTLE_S, SETTLE_LIMIT_S = 2.0, 20.0
"""How long the SM clock stands still before idle power is measured, and how long to wait for it."""


class Instrument:
    """Enter it once around all runs of an experiment; open a :meth:`record` for each run.

    With ``spec="auto"`` a machine without a meter still gives times and memory, and every energy
    is ``None`` with the reason. A meter asked for by name must exist.

    ``rhythms`` has how the meter's counter ticked before, and is told how it ticks: the next
    instrument then need not look for that, which takes many reads. ``check`` is called while a
    meter is waited for; what it raises, a cancellation, ends the wait.

    Raises:
        MeterUnavailableError: on entering, where a meter asked for by name cannot be opened.
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
        self.meter: Meter | None = None
        self._spec, self._opened_spec = spec, ""
        self._check = check
        self._refusal = ""
        self._still = StillPower()
        self._timeline: Timeline = timeline_for(device)
        self._gauges: Gauges = gauges_for(device)

    def __enter__(self) -> Instrument:
        self._power_limit_w: float | None = None
        try:
            self._open(self._spec, OPEN_S)
        except MeterUnavailableError as error:
            if self._spec != "auto":
                raise
            self._refusal = " ".join(str(error).split())
        self._sampler = self._new_sampler()
        return self

    def __exit__(self, *_: object) -> None:
        if self.meter is not None:
            self._rhythms.keep(self.meter.name, self._sampler.clock)
            if not self._sampler.is_lost:
                self._close(self.meter)

    def _open(self, spec: str, limit_s: float) -> None:
        """Open the meter and ask it what is known of it before it is used.

        Raises:
            MeterUnavailableError: it cannot be opened, or does not answer.
        """

        def ask() -> tuple[Meter, float | None, bool]:
            meter, limit_w, used_bytes = open_meter(spec, self.device_id), None, None
            with suppress(MeterReadError):
                limit_w = meter.power_limit_w()
            with suppress(MeterReadError):
                used_bytes = meter.read_vram_bytes()
            return meter, limit_w, used_bytes is not None

        try:
            self.meter, limit_w, self._tells_vram = within(limit_s, ask, self._check)
        except NoAnswerError as error:
            raise MeterUnavailableError(f"{spec}: {error}") from error
        if not self._opened_spec:
            self._opened_spec, self._power_limit_w = self.meter.name, limit_w

    def _close(self, meter: Meter) -> None:
        with suppress(NoAnswerError):
            within(ANSWER_S, meter.close, self._check)

    @contextmanager
    def record(self) -> Iterator[tuple[Window, Recording]]:
        """Measure what the body does. The recording is filled in when the body is left.

        A tick of the counter goes by before the body begins and another one after it has ended, so
        that the power of rest is known; the body begins at random between ticks.
        """
        recording, window = Recording(), Window(self._timeline)
        quiet_s = self._resume()
        has_ticked = self._sampler.wait_for_tick(TICK_TIMEOUT_S)
        witness, logged = Witness(), LoggedWarnings()
        try:
            with self._sampler:
                if has_ticked:
                    time.sleep(random.uniform(0, START_JITTER_S))
                self._gauges.reset_allocator_peak()
                with witness, logged, window:
                    yield window, recording
        finally:
            if witness.stood_still_s:
                window.faults.append(STOOD_STILL.format(witness.stood_still_s))
            recording.flags = tuple(logged.messages)
            for _ in range(2):
                self._sampler.wait_for_tick(TICK_TIMEOUT_S)
            self._fill(recording, window, (quiet_s, time.perf_counter()))

    def idle_power(
        self, seconds: float, pause: Callable[[float], None] = time.sleep
    ) -> float | None:
        """Mean power over ``seconds`` in which nothing runs; ``None`` where no meter can tell.

        Waits before that until the SM clock stands still, :data:`SETTLE_LIMIT_S` at most. ``pause``
        does the waiting, so that it can be cancelled.
        """
        self._timeline.stop()
        self._resume()
        with self._sampler:
            self._settle(pause)
            start_s = self._timeline.start()
            pause(seconds)
            idle = Interval("idle", start_s, self._timeline.stop())
        self._sampler.wait_for_tick(TICK_TIMEOUT_S)
        self._see_power(idle.start_s, idle.end_s, is_work=False)
        readings, _ = self._energies([idle])
        return readings[0].energy_j / idle.duration_s if readings[0] else None

    def _new_sampler(self) -> Sampler:
        read_vram, self._vram_source = self._vram_reader()
        clock = self._rhythms.of(self.meter.name) if self.meter is not None else None
        gauges = self._gauges
        return Sampler(
            self.meter,
            read_vram,
            gauges.read_rss_bytes,
            gauges.read_allocator_bytes,
            clock,
            self._check,
        )

    def _resume(self) -> float:
        """Read on after a pause; returns when the counter last ticked.

        A meter that failed is opened anew. Where it cannot be, it stays refused for its fault.
        """
        if self._sampler.samples.faults or (self.meter is None and self._opened_spec):
            self._reopen()
        quiet_s = self._sampler.resume(TICK_TIMEOUT_S)
        if self._sampler.samples.faults and self.meter is not None and not self._sampler.is_lost:
            # What went wrong while nobody measured is not the next run's affair.
            self._reopen()
            quiet_s = self._sampler.resume(TICK_TIMEOUT_S)
        return quiet_s

    def _reopen(self) -> None:
        failed, is_lost = self.meter, self._sampler.is_lost
        try:
            self._open(self._opened_spec, REOPEN_S)
        except MeterUnavailableError as error:
            if is_lost:
                self.meter, self._refusal = None, str(error)
                self._sampler = self._new_sampler()
            return
        if failed is not None and not is_lost:
            self._close(failed)
        self._sampler = self._new_sampler()

    def _settle(self, pause: Callable[[float], None]) -> None:
        """Return at once where the meter gives no clock."""
        status, began_s = self._sampler.samples.status, time.perf_counter()
        while status and time.perf_counter() < began_s + SETTLE_LIMIT_S:
            pause(SETTLE_S)
            clocks = [
                sample.status.sm_clock_hz
                for sample in around(status, time.perf_counter() - SETTLE_S, math.inf)
                if sample.status.sm_clock_hz is not None
            ]
            if not clocks or max(clocks) - min(clocks) <= CLOCK_CHANGE * max(clocks):
                return

    def _energies(
        self, intervals: Sequence[Interval], reach_s: tuple[float, float] | None = None
    ) -> tuple[list[EnergyReading | None], str]:
        if self.meter is None:
            return [None] * len(intervals), self._refusal
        is_measured = self.meter.provenance == "measured"
        still_fault = self._still.fault if is_measured else ""
        return read_energies(self.meter, self._sampler.samples, intervals, reach_s, still_fault)

    def _see_power(self, start_s: float, end_s: float, is_work: bool) -> None:
        power = self._sampler.samples.power
        self._still.see([s for s in around(power, start_s, end_s) if s.t_s >= start_s], is_work)

    def _fill(self, recording: Recording, window: Window, reach_s: tuple[float, float]) -> None:
        start_s, end_s = window.start_s, window.end_s
        recording.started_at = window.started_at
        recording.start_s, recording.end_s = start_s, end_s
        self._see_power(start_s, end_s, is_work=True)
        energies, recording.energy_note = self._energies(
            [Interval(span.name, span.start_s, span.end_s) for span in window.spans], reach_s
        )
        recording.phases = tuple(
            _phase(span, start_s, energy)
            for span, energy in zip(window.spans, energies, strict=True)
        )
        recording.kernel_calls = tuple(window.kernel_calls)
        recording.samplings = window.samplings
        recording.faults = tuple(window.faults)
        recording.unmeasured_s = dict(window.unmeasured_s)
        samples = self._sampler.samples
        recording.trace = self._trace(start_s, reach_s)
        recording.vram_samples = tuple(
            s._replace(t_s=s.t_s - start_s) for s in around(samples.vram, start_s, end_s)
        )
        recording.vram = _memory(samples.vram, start_s, end_s, self._vram_source)
        recording.allocator_peak_bytes = self._gauges.allocator_peak_bytes()
        allocator = _memory(samples.allocator, start_s, end_s, self._gauges.allocator_source)
        recording.allocator_mean_bytes = allocator.mean_bytes if allocator else None
        recording.allocator_source = self._gauges.allocator_source
        recording.vram_note = "" if recording.vram else self._gauges.vram_note
        statuses = around(samples.status, start_s, end_s)
        recording.board = board_state([s.status for s in statuses], self._power_limit_w)
        recording.rss = _memory(samples.rss, start_s, end_s, "resident set of the process, sampled")

    def _trace(self, origin_s: float, reach_s: tuple[float, float]) -> Trace:
        samples = self._sampler.samples
        counter = tuple(s._replace(t_s=s.t_s - origin_s) for s in around(samples.counter, *reach_s))
        power = tuple(s._replace(t_s=s.t_s - origin_s) for s in around(samples.power, *reach_s))
        if self.meter is None or not counter:
            return Trace(power=power)
        return Trace(counter, power, tick_error(samples, self.meter, *reach_s))

    def _vram_reader(self) -> tuple[Callable[[], int | None] | None, str]:
        if self.meter is not None and self._tells_vram:
            return self.meter.read_vram_bytes, f"{self.meter.name}, {self.meter.memory}, sampled"
        return self._gauges.read_vram_bytes, "driver through torch, whole device, sampled"


def _phase(span: Span, origin_s: float, energy: EnergyReading | None) -> Phase:
    return Phase(
        name=span.name,
        start_s=span.start_s - origin_s,
        duration_s=span.end_s - span.start_s,
        energy=energy,
        step_ends_s=tuple(step_s - origin_s for step_s in span.step_ends_s),
        nfe=span.nfe,
    )


def _memory(
    samples: list[MemorySample], start_s: float, end_s: float, source: str
) -> MemoryReading | None:
    used = [sample.used_bytes for sample in around(samples, start_s, end_s)]
    if not used:
        return None
    return MemoryReading(max(used), sum(used) / len(used), source, len(used))
