"""Whether the numbers of a run follow from each other and from its raw samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..measure.energy.attribution import Interval, integrate, share_ticks
from ..measure.energy.totals import total_energy
from ..records import COMPUTE_PHASES, EnergyReading, Phase, Run

ROUNDING = 1e-6
"""Relative difference of two sums of the same numbers."""

COUNTER_TOLERANCE = 0.05
"""Relative difference of a counter's energy to that of its ticks: nodes that were measured one by
one were shared out one by one. The counter's tick comes on top."""

MOST_OF_LIMIT = 3.0
"""No board draws so many times its power limit for the length of a run."""


@dataclass(frozen=True)
class Verdict:
    """``faults`` are sentences, each with its run's id in front; ``recomputed`` counts runs of
    which the energy of every phase was computed anew from raw samples, of ``energy_count`` runs
    with energy."""

    run_count: int
    energy_count: int
    recomputed: int
    faults: tuple[str, ...]


def verify(runs: Sequence[Run]) -> Verdict:
    """Compute anew what can be, and say what does not agree."""
    counted = [run for run in runs if not run.error]
    faults = [f"run {run.run_id}: {fault}" for run in counted for fault in _faults(run)]
    with_energy = [run for run in counted if run.energy is not None]
    recomputed = sum(_is_recomputed(run) for run in with_energy)
    return Verdict(len(runs), len(with_energy), recomputed, tuple(faults))


def _faults(run: Run) -> Iterator[str]:
    yield from _time_faults(run)
    if run.energy is None:
        return
    total, _ = total_energy(run.phases)
    if total is not None and not _alike(run.energy.energy_j, total.energy_j):
        yield (
            f"its energy is {run.energy.energy_j:.6g} J, and that of its phases together "
            f"{total.energy_j:.6g} J"
        )
    limit_w = run.environment.power_limit_w
    mean_w = run.energy.energy_j / run.energy.duration_s if run.energy.duration_s else math.inf
    if limit_w and run.energy.scope == "gpu" and mean_w > MOST_OF_LIMIT * limit_w:
        yield f"{mean_w:.4g} W on average is more than a board with {limit_w:.4g} W can draw"
    for phase in run.phases:
        if phase.energy is not None and not _is_of_a_source(phase.energy):
            yield f"{phase.name} states an energy that neither its counter nor its power has"
    yield from _power_faults(run)
    yield from _counter_faults(run)


def _is_of_a_source(energy: EnergyReading) -> bool:
    sources = [j for j in (energy.counter_j, energy.integrated_j) if j is not None]
    return not sources or any(_alike(energy.energy_j, joules) for joules in sources)


def _time_faults(run: Run) -> Iterator[str]:
    ends_s = [phase.start_s + phase.duration_s for phase in run.phases]
    if run.wall_time_s is not None and ends_s and max(ends_s) > run.wall_time_s * (1 + ROUNDING):
        yield f"a phase ends after {max(ends_s):.6g} s, and the run took {run.wall_time_s:.6g} s"
    for phase in run.phases:
        if phase.duration_s < 0 or phase.start_s < 0:
            yield f"{phase.name} has a time below 0"
        if phase.energy is not None and phase.energy.energy_j < 0:
            yield f"{phase.name} has an energy below 0"


def _power_faults(run: Run) -> Iterator[str]:
    """Power held until the next sample, for each phase that states it."""
    for phase in run.phases:
        stated_j = phase.energy.integrated_j if phase.energy else None
        found_j = _by_power(run, phase)
        if stated_j is not None and found_j is not None and not _alike(stated_j, found_j):
            yield f"{phase.name} took {found_j:.6g} J by its power samples, not {stated_j:.6g} J"


def _counter_faults(run: Run) -> Iterator[str]:
    found_j = _by_counter(run)
    compute = [p.energy for p in run.phases if p.name in COMPUTE_PHASES and p.energy is not None]
    stated = [energy.counter_j for energy in compute if energy.counter_j is not None]
    if found_j is None or not stated:
        return
    stated_j = sum(stated)
    resolution_j = max(energy.resolution_j or 0.0 for energy in compute)
    if abs(found_j - stated_j) > COUNTER_TOLERANCE * found_j + 2 * resolution_j:
        yield f"its counter gained {found_j:.6g} J, not {stated_j:.6g} J"


def _by_power(run: Run, phase: Phase) -> float | None:
    """Joules of a phase by the power samples; ``None`` where these do not reach back to it."""
    try:
        return integrate(run.trace.power, phase.start_s, phase.start_s + phase.duration_s)
    except ValueError:
        return None


def _by_counter(run: Run) -> float | None:
    """Joules of an image's phases by the counter's ticks; ``None`` where they cannot be shared."""
    if not run.trace.counter:
        return None
    try:
        shares = share_ticks(run.trace.counter, _intervals(run.phases), run.trace.tick_error_s)
    except ValueError:
        return None
    names = [phase.name for phase in run.phases]
    return sum(j for name, j in zip(names, shares, strict=True) if name in COMPUTE_PHASES)


def _is_recomputed(run: Run) -> bool:
    """Whether every energy that an image's is made of was held against raw samples."""
    phases = [p for p in run.phases if p.name in COMPUTE_PHASES and p.energy is not None]
    by_counter = _by_counter(run) is not None
    return bool(phases) and all(
        (by_counter and phase.energy.counter_j is not None)
        or (phase.energy.integrated_j is not None and _by_power(run, phase) is not None)
        for phase in phases
        if phase.energy is not None
    )


def _intervals(phases: Sequence[Phase]) -> list[Interval]:
    return [Interval(p.name, p.start_s, p.start_s + p.duration_s) for p in phases]


def _alike(stated: float, found: float) -> bool:
    return math.isclose(stated, found, rel_tol=ROUNDING, abs_tol=1e-9)
