"""A prompt recorded beside its work: a meter read ten times a second, borders of the device.

Nothing is waited for, unlike with :class:`..recording.instrument.Instrument`: a prompt takes no
longer. In return an energy is only good to what the meter gains between two reads.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any, NamedTuple

from ...records import (
    CounterSample,
    EnergyReading,
    MemoryReading,
    MemorySample,
    Method,
    Phase,
    PowerSample,
    Trace,
)
from ..meters import Meter, MeterUnavailableError
from ..meters.bounded import ANSWER_S
from ..meters.timed_read import timed_read
from ..recording.instrument import Recording
from ..recording.samples import around
from ..recording.timeline import Timeline
from .log import Piece

PERIOD_S = 0.1
"""How often the meter is read while a prompt runs."""

MOST_GAP_S = 1.5
"""Reads further apart than this leave a hole; a prompt with one has no energy."""

BORDER_S = 0.2
"""An energy is good to the highest power seen for so long at each border, or for longer where the
reads lay further apart."""

NO_ANSWER = f"the meter did not answer within {ANSWER_S:g} s of the prompt's end"
TOO_SHORT = "the prompt was over before the meter had been read twice"
NOTHING_DRAWN = "the meter told of no energy at all during this prompt: it stood still"
LATE = "the meter was opened after the prompt had begun"


VRAM_SOURCE = "whole device, sampled"


class Gain(NamedTuple):
    """What had been drawn by a moment, in joules since the first read."""

    t_s: float
    energy_j: float


class LightRecorder:
    """Records one prompt after the other; its meter is opened with the first and stays open.

    Args:
        open_meter: raises :class:`MeterUnavailableError` where there is none; called in a thread.
        timeline: of the device that is measured.
        read_vram_bytes: bytes in use on it where its meter does not tell; ``None`` without one.
        vram_note: why there is no such figure, where there is none.
    """

    def __init__(
        self,
        open_meter: Callable[[], Meter],
        timeline: Timeline,
        read_vram_bytes: Callable[[], int | None] | None = None,
        vram_note: str = "",
    ) -> None:
        self._open_meter, self._timeline = open_meter, timeline
        self._read_vram, self._vram_note = read_vram_bytes, vram_note
        self._meter: Meter | None = None
        self._has_failed = False
        self._thread: threading.Thread | None = None

    @property
    def is_stuck(self) -> bool:
        """Whether a read of an earlier prompt has not come back."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, unmeasured: str = "") -> None:
        """A prompt begins; ``unmeasured`` says why its energy is not to be measured."""
        self._started_at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self._reason = unmeasured or (NO_ANSWER if self.is_stuck else "")
        self._is_idle = bool(self._reason)
        self._stop = threading.Event()
        self._counter: list[CounterSample] = []
        self._power: list[PowerSample] = []
        self._vram: list[MemorySample] = []
        self._start_s = self._timeline.start()
        if not self._is_idle:
            self._thread = threading.Thread(
                target=self._loop, args=(self._stop,), name="wattbench-history", daemon=True
            )
            self._thread.start()

    def mark(self) -> Any:
        """A border between nodes, in the order of the work queued so far."""
        return self._timeline.mark()

    def seconds(self, mark: Any) -> float:
        """The ``time.perf_counter`` time of a mark, once the prompt is over."""
        return self._timeline.seconds(mark)

    def end(self, pieces: Callable[[Any], Sequence[Piece]]) -> tuple[Recording, float | None]:
        """The prompt is over: its recording, and what each energy in it is good to, in joules.

        ``pieces`` gives what each node had, up to a last mark.
        """
        last = self._timeline.mark()
        end_s = self._timeline.stop()
        self._stop.set()
        if self._thread is not None and not self._is_idle:
            self._thread.join(ANSWER_S)
            self._reason = NO_ANSWER if self.is_stuck else self._reason
        gains = self._gains()
        phases = tuple(
            self._phase(
                piece.node_id,
                self._timeline.seconds(piece.start),
                self._timeline.seconds(piece.end),
                gains,
            )
            for piece in pieces(last)
        )
        if gains and any(phase.energy is None for phase in phases):
            self._reason = LATE
        start_s = self._start_s
        inside = tuple(
            s._replace(t_s=s.t_s - start_s)
            for s in around(self._vram, start_s, end_s)
            if start_s <= s.t_s <= end_s
        )
        used = [sample.used_bytes for sample in inside]
        recording = Recording(
            started_at=self._started_at,
            start_s=start_s,
            end_s=end_s,
            phases=phases,
            energy_note=self._reason,
            vram_samples=inside,
            vram_note="" if used else self._vram_note,
            trace=Trace(tuple(self._counter), tuple(self._power)),
        )
        if used:
            mean_bytes = sum(used) / len(used)
            recording.vram = MemoryReading(max(used), mean_bytes, VRAM_SOURCE, len(used))
        return recording, _error_j(gains)

    def close(self) -> None:
        """Close the meter; one that does not answer is left as it is."""
        if not self.is_stuck:
            self._close_meter()

    def _close_meter(self) -> None:
        meter, self._meter, self._has_failed = self._meter, None, False
        if meter is not None:
            meter.close()

    def _loop(self, stop: threading.Event) -> None:
        """In a thread of its own, from the prompt's begin to its end."""
        try:
            if self._has_failed:
                self._close_meter()
            self._meter = self._meter or self._open_meter()
        except MeterUnavailableError as error:
            self._reason = " ".join(str(error).split())
        self._read()
        while not stop.wait(PERIOD_S):
            self._read()
        self._read()

    def _read(self) -> None:
        meter = self._meter
        try:
            if meter is not None and not self._reason:
                read = timed_read(meter.read_energy_j)
                if read.value is not None:
                    self._counter.append(CounterSample(read.middle_s, read.value))
                else:
                    read = timed_read(meter.read_power_w)
                    if read.value is not None:
                        self._power.append(PowerSample(read.middle_s, read.value))
            for read_vram in (meter and meter.read_vram_bytes, self._read_vram):
                read = timed_read(read_vram or _nothing)
                if read.value is not None:
                    self._vram.append(MemorySample(read.middle_s, read.value))
                    break
        except RuntimeError as error:
            # MeterReadError is one; torch raises others where a driver does not answer.
            self._reason = self._reason or str(error).splitlines()[0]
            self._has_failed = True

    def _gains(self) -> list[Gain]:
        """Nothing, and the reason, where the reads do not tell what was drawn."""
        every = [Gain(s.t_s, s.energy_j - self._counter[0].energy_j) for s in self._counter]
        if not every:
            joules, held = 0.0, None
            for sample in self._power:
                joules += 0.0 if held is None else held.power_w * (sample.t_s - held.t_s)
                every.append(Gain(sample.t_s, joules))
                held = sample
        gains = every[:1] + [b for a, b in pairwise(every) if b.t_s > a.t_s]
        if len(gains) < 2:
            self._reason = self._reason or TOO_SHORT
            return []
        longest_s = max(b.t_s - a.t_s for a, b in pairwise(gains))
        if longest_s > MOST_GAP_S:
            self._reason = self._reason or (
                f"the meter was not read for {longest_s:.1f} s of this prompt"
            )
        elif gains[-1].energy_j <= 0:
            self._reason = self._reason or NOTHING_DRAWN
        return [] if self._reason else gains

    def _phase(self, name: str, start_s: float, end_s: float, gains: list[Gain]) -> Phase:
        energy = self._between(start_s, end_s, gains)
        return Phase(name, start_s - self._start_s, end_s - start_s, energy)

    def _between(self, start_s: float, end_s: float, gains: list[Gain]) -> EnergyReading | None:
        """``None`` where the reads do not reach that far."""
        low_j, high_j = (_at(moment_s, gains) for moment_s in (start_s, end_s))
        if self._meter is None or low_j is None or high_j is None:
            return None
        method: Method = "counter" if self._counter else "integrated"
        if self._meter.provenance != "measured":
            method = self._meter.provenance
        return EnergyReading(
            energy_j=high_j - low_j,
            duration_s=end_s - start_s,
            meter=self._meter.name,
            scope=self._meter.scope,
            method=method,
            resolution_j=None,
            sample_count=sum(start_s <= gain.t_s <= end_s for gain in gains),
        )


def _error_j(gains: list[Gain]) -> float | None:
    """What the borders leave open: the highest power seen, for as long as that may be."""
    steps = [(b.t_s - a.t_s, b.energy_j - a.energy_j) for a, b in pairwise(gains)]
    if not steps:
        return None
    highest_w = max(joules / seconds for seconds, joules in steps)
    return highest_w * max(BORDER_S, 2 * max(seconds for seconds, _ in steps))


def _nothing() -> None:
    """What is read where there is no source."""


def _at(moment_s: float, gains: list[Gain]) -> float | None:
    """What had been drawn then: evenly from one read to the next, and as evenly shortly beyond."""
    if len(gains) < 2 or not gains[0].t_s - BORDER_S <= moment_s <= gains[-1].t_s + BORDER_S:
        return None
    after = min(max(bisect_left(gains, moment_s, key=lambda gain: gain.t_s), 1), len(gains) - 1)
    (low_s, low_j), (high_s, high_j) = gains[after - 1], gains[after]
    return low_j + (high_j - low_j) * (moment_s - low_s) / (high_s - low_s)
