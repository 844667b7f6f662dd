"""Recordings of one image's parts, joined into a run."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .board import join_states
from .instrument import Recording
from .records import (
    COMPUTE_PHASES,
    Condition,
    EnergyReading,
    Environment,
    MemoryReading,
    Phase,
    Prediction,
    Run,
    Trace,
)


def make_run(
    recordings: Sequence[Recording],
    condition: Condition,
    environment: Environment,
    *,
    seed: int | None,
    visit: int,
    repeat: int = 0,
    is_warmup: bool = False,
    idle_power_before_w: float | None = None,
    predicted_energy: Prediction | None = None,
) -> Run:
    """One run from the recordings of its parts, in any order.

    A single recording covers the whole run; several come from nodes that were measured one by one,
    and the run then reaches from the first to the last of them.

    Raises:
        ValueError: no recording.
    """
    if not recordings:
        raise ValueError("no recording to make a run from")
    parts = sorted(recordings, key=lambda recording: recording.start_s)
    origin_s = parts[0].start_s
    phases = tuple(
        _later(phase, part.start_s - origin_s) for part in parts for phase in part.phases
    )
    energy, gap = total_energy(phases)
    notes = [*(part.energy_note for part in parts), gap]
    return Run(
        run_id=uuid.uuid4().hex,
        started_at=parts[0].started_at,
        condition=condition,
        environment=environment,
        seed=seed,
        visit=visit,
        repeat=repeat,
        is_warmup=is_warmup,
        phases=phases,
        wall_time_s=max(part.end_s for part in parts) - origin_s,
        energy=energy,
        idle_power_w=idle_power_before_w,
        idle_power_before_w=idle_power_before_w,
        energy_note=_join(notes),
        predicted_energy=predicted_energy,
        vram=_join_memory(part.vram for part in parts),
        allocator_peak_bytes=_highest(part.allocator_peak_bytes for part in parts),
        allocator_mean_bytes=_mean_over_time(parts),
        allocator_source=parts[0].allocator_source,
        vram_note=_join(part.vram_note for part in parts),
        rss=_join_memory(part.rss for part in parts),
        board=join_states([part.board for part in parts]),
        kernel_calls=tuple(calls for part in parts for calls in part.kernel_calls),
        trace=_join_traces(parts),
    )


def failed_run(
    condition: Condition,
    environment: Environment,
    error: str,
    *,
    started_at: str,
    seed: int | None,
    visit: int,
    repeat: int,
    is_warmup: bool,
) -> Run:
    """A run that has nothing but its reason."""
    return Run(
        run_id=uuid.uuid4().hex,
        started_at=started_at,
        condition=condition,
        environment=environment,
        seed=seed,
        visit=visit,
        repeat=repeat,
        is_warmup=is_warmup,
        error=error,
        energy_note="the run failed",
        vram_note="the run failed",
    )


def total_energy(phases: Iterable[Phase]) -> tuple[EnergyReading | None, str]:
    """Energy of the compute phases together, or ``None`` and the reason.

    Its method is that of the longest of them, its resolution the coarsest.
    """
    phases = tuple(phases)
    compute = [phase for phase in phases if phase.name in COMPUTE_PHASES]
    readings = [phase.energy for phase in compute if phase.energy is not None]
    if not readings:
        return None, ""
    absent = [name for name in COMPUTE_PHASES if name not in {phase.name for phase in compute}]
    if absent:
        return None, f"no energy per image: {' and '.join(absent)} not measured"
    if len(readings) < len(compute):
        return None, "energy is missing for a part of the run"
    if len({(reading.meter, reading.scope) for reading in readings}) > 1:
        return None, "the parts of the run were measured by different meters"
    longest = max(readings, key=lambda reading: reading.duration_s)
    resolutions = [r.resolution_j for r in readings if r.resolution_j is not None]
    return replace(
        longest,
        energy_j=sum(reading.energy_j for reading in readings),
        duration_s=sum(reading.duration_s for reading in readings),
        resolution_j=max(resolutions) if resolutions else None,
        sample_count=sum(reading.sample_count for reading in readings),
        counter_j=_sum_if_all(reading.counter_j for reading in readings),
        integrated_j=_sum_if_all(reading.integrated_j for reading in readings),
    ), ""


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


def _sum_if_all(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


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


def _join_traces(parts: Sequence[Recording]) -> Trace:
    origin_s = parts[0].start_s
    return Trace(
        tuple(
            sample._replace(t_s=sample.t_s + part.start_s - origin_s)
            for part in parts
            for sample in part.trace.counter
        ),
        tuple(
            sample._replace(t_s=sample.t_s + part.start_s - origin_s)
            for part in parts
            for sample in part.trace.power
        ),
        max(part.trace.tick_error_s for part in parts),
    )
