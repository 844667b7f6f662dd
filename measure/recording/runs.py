"""Recordings of one image's parts, joined into a run."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from ...processes.identity import process_id
from ...records import (
    COMPUTE_PHASES,
    BesideTrace,
    Condition,
    Environment,
    MemoryReading,
    Phase,
    Run,
    Trace,
)
from ..energy.totals import total_energy
from .board_state import join_states
from .instrument import Recording
from .work import counted_condition

FAILED = "the run failed"

LEAST_SHARE = 0.01
"""Unmeasured work below this share of the measured time is passed over."""


def new_run(
    condition: Condition,
    environment: Environment,
    *,
    seed: int | None,
    visit: int,
    repeat: int = 0,
    is_warmup: bool = False,
    job_id: str = "",
) -> Run:
    """A run that begins now, and of which nothing has been measured yet."""
    return Run(
        run_id=uuid.uuid4().hex,
        started_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        condition=condition,
        environment=environment,
        seed=seed,
        visit=visit,
        repeat=repeat,
        is_warmup=is_warmup,
        process_id=process_id(),
        job_id=job_id,
    )


def measured_run(run: Run, recordings: Sequence[Recording]) -> Run:
    """``run`` with what was measured in the recordings of its parts, in any order.

    A single recording covers the whole run; several come from nodes that were measured one by one,
    and the run then reaches from the first to the last of them.

    Raises:
        ValueError: no recording.
    """
    if not recordings:
        raise ValueError("no recording to make a run from")
    parts = sorted(recordings, key=lambda recording: recording.start_s)
    origin_s = parts[0].start_s
    samplings = tuple(sampling for part in parts for sampling in part.samplings)
    phases = tuple(
        _later(phase, part.start_s - origin_s) for part in parts for phase in part.phases
    )
    board = join_states([(part.board, part.end_s - part.start_s) for part in parts])
    faults = [fault for part in parts for fault in part.faults]
    logged = [message for part in parts for message in part.flags]
    energy, gap = total_energy(phases)
    unmeasured = ", ".join(filter(None, (run.unmeasured, _unmeasured(parts))))
    if unmeasured:
        energy = None
        gap = _join([gap, f"no energy per image: nobody measured {unmeasured}"])
    return replace(
        run,
        unmeasured=unmeasured,
        condition=counted_condition(run.condition, samplings),
        samplings=samplings,
        started_at=parts[0].started_at,
        phases=phases,
        wall_time_s=max(part.end_s for part in parts) - origin_s,
        energy=energy,
        energy_note=_join([gap, *(part.energy_note for part in parts)]),
        beside_meters=tuple(dict.fromkeys(name for part in parts for name in part.beside_meters)),
        vram=_join_memory(part.vram for part in parts),
        allocator_peak_bytes=_highest(part.allocator_peak_bytes for part in parts),
        allocator_mean_bytes=_mean_over_time(parts),
        allocator_source=parts[0].allocator_source,
        vram_note=_join(part.vram_note for part in parts),
        rss=_join_memory(part.rss for part in parts),
        board=replace(board, flags=tuple(dict.fromkeys((*board.flags, *faults, *logged)))),
        not_counted=_join(faults),
        kernel_calls=tuple(calls for part in parts for calls in part.kernel_calls),
        trace=_join_traces([(part.start_s - origin_s, part.trace) for part in parts]),
        beside_traces=_beside_traces(parts, origin_s),
    )


def failed_run(run: Run, error: str) -> Run:
    """``run`` with nothing but the reason why it failed."""
    return replace(run, error=error, energy_note=FAILED, vram_note=FAILED)


def _unmeasured(parts: Sequence[Recording]) -> str:
    """Work that no phase is for, with its seconds, the longest first."""
    seconds: Counter[str] = Counter()
    for part in parts:
        seconds.update(part.unmeasured_s)
    names = (phase for part in parts for phase in part.phases)
    compute_s = sum(phase.duration_s for phase in names if phase.name in COMPUTE_PHASES)
    if sum(seconds.values()) <= LEAST_SHARE * compute_s:
        return ""
    return ", ".join(f"{what} ({s:.2g} s)" for what, s in seconds.most_common())


def _later(phase: Phase, by_s: float) -> Phase:
    steps = tuple(step_s + by_s for step_s in phase.step_ends_s)
    return replace(phase, start_s=phase.start_s + by_s, step_ends_s=steps)


def _join(notes: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(note for note in notes if note))


def _join_memory(readings: Iterable[MemoryReading | None]) -> MemoryReading | None:
    """Highest peak and mean over all samples; of one source, which is that of the first."""
    known = [reading for reading in readings if reading is not None]
    if not known:
        return None
    count = sum(reading.sample_count for reading in known)
    mean = sum(reading.mean_bytes * reading.sample_count for reading in known) / count
    return MemoryReading(max(r.peak_bytes for r in known), mean, known[0].source, count)


def _mean_over_time(parts: Sequence[Recording]) -> float | None:
    """Mean of what the allocator held, each part counting by its duration."""
    known = [
        (part.allocator_mean_bytes, part.end_s - part.start_s)
        for part in parts
        if part.allocator_mean_bytes is not None
    ]
    total_s = sum(seconds for _, seconds in known)
    return sum(held * seconds for held, seconds in known) / total_s if total_s else None


def _highest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _join_traces(parts: Sequence[tuple[float, Trace]]) -> Trace:
    """The samples of all parts; each begins so many seconds after the run."""
    return Trace(
        tuple(s._replace(t_s=s.t_s + by_s) for by_s, trace in parts for s in trace.counter),
        tuple(s._replace(t_s=s.t_s + by_s) for by_s, trace in parts for s in trace.power),
        max(trace.tick_error_s for _, trace in parts),
    )


def _beside_traces(parts: Sequence[Recording], origin_s: float) -> tuple[BesideTrace, ...]:
    by_meter: dict[str, list[tuple[float, Trace]]] = {}
    for part in parts:
        for beside in part.beside_traces:
            by_meter.setdefault(beside.meter, []).append((part.start_s - origin_s, beside.trace))
    return tuple(BesideTrace(meter, _join_traces(traces)) for meter, traces in by_meter.items())
