"""Energy of phases and steps over the repeats of a condition, from the runs' raw traces."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .attribution import Interval, integrate
from .pooling import TickedRun, pool
from .records import COMPUTE_PHASES, Method, Run

MOST_STEPS = 200
"""Runs of more steps have no profile: its fit grows with the cube of their number."""


@dataclass(frozen=True)
class PooledPhases:
    """Joules of each compute phase as its run's part of the estimate over all repeats.

    Mean and interval over the repeats are those of the estimate; a single run's value is rough and
    may be negative. In every run they sum to the run's energy. ``run_count`` runs share the fit; it
    is 1 where the meter has no counter, and the values are then the run's own.
    """

    energy_j: dict[str, float]
    method: Method
    run_count: int


@dataclass(frozen=True)
class StepProfile:
    """Seconds and joules of each sampling step, ``[runs][steps]``, over runs made alike.

    Joules are parts of a pooled estimate, as in :class:`PooledPhases`.
    """

    runs: Sequence[Run]
    duration_s: Sequence[Sequence[float]]
    energy_j: Sequence[Sequence[float]]
    method: Method


def pooled_phases(runs: Sequence[Run]) -> list[PooledPhases | None]:
    """For each run its phases; ``None`` where it does not count or has no energy."""
    found: list[PooledPhases | None] = [None] * len(runs)
    for group in _alike(runs):
        ticked = {}
        for index in group:
            own = found[index] = _own_phases(runs[index])
            intervals = _phase_intervals(runs[index])
            run = _ticked(runs[index], intervals, sum(own.energy_j.values()))
            if run is not None:
                ticked[index] = run
        values = pool(list(ticked.values()), COMPUTE_PHASES).tolist() if ticked else []
        for index, row in zip(ticked, values, strict=True):
            energy_j = dict(zip(COMPUTE_PHASES, row, strict=True))
            found[index] = PooledPhases(energy_j, _method(runs[index], "attributed"), len(ticked))
    return found


def step_profiles(runs: Sequence[Run]) -> list[StepProfile]:
    """A profile for each set of repeats whose steps were observed and whose meter tells energy."""
    phases = pooled_phases(runs)
    profiles: list[StepProfile] = []
    for group in _alike(runs):
        counts = Counter(_step_count(runs[index]) for index in group)
        step_count = counts.most_common(1)[0][0]
        same = [index for index in group if _step_count(runs[index]) == step_count]
        denoise_j = [found.energy_j["denoise"] for i in same if (found := phases[i]) is not None]
        if 0 < step_count <= MOST_STEPS:
            profiles += _profile([runs[index] for index in same], denoise_j, step_count)
    return profiles


def _alike(runs: Sequence[Run]) -> list[list[int]]:
    """Indices of runs that count, together where condition, environment and meter are equal."""
    groups = defaultdict(list)
    for index, run in enumerate(runs):
        if run.energy is not None and not run.is_warmup and not run.error:
            groups[run.condition, run.environment, run.energy.meter].append(index)
    return list(groups.values())


def _profile(
    runs: Sequence[Run], denoise_j: Sequence[float], step_count: int
) -> Iterator[StepProfile]:
    names = [_step_name(number) for number in range(1, step_count + 1)]
    steps = [[i for i in _step_intervals(run) if i.name in names] for run in runs]
    durations = [[interval.duration_s for interval in row] for row in steps]
    ticked = [
        _ticked(run, _step_intervals(run), joules)
        for run, joules in zip(runs, denoise_j, strict=True)
    ]
    if None not in ticked:
        energies = pool([run for run in ticked if run is not None], [*names, "denoise"])
        method = _method(runs[0], "attributed")
        yield StepProfile(runs, durations, energies[:, :step_count].tolist(), method)
    elif all(run.trace.power for run in runs):
        integrals = [
            [integrate(run.trace.power, i.start_s, i.end_s) for i in row]
            for run, row in zip(runs, steps, strict=True)
        ]
        yield StepProfile(runs, durations, integrals, _method(runs[0], "integrated"))


def _ticked(run: Run, intervals: Sequence[Interval], energy_j: float) -> TickedRun | None:
    """The run as its counter saw it; ``None`` where it has none or its ticks cannot be shared."""
    try:
        return TickedRun.of(run.trace.counter, intervals, run.trace.tick_error_s, energy_j)
    except ValueError:
        return None


def _phase_intervals(run: Run) -> list[Interval]:
    return [Interval(p.name, p.start_s, p.start_s + p.duration_s) for p in run.phases]


def _step_intervals(run: Run) -> list[Interval]:
    """As the phases, with each step apart and ``denoise`` for what comes after the last one."""
    intervals, number = [], 0
    for phase in run.phases:
        start_s, end_s = phase.start_s, phase.start_s + phase.duration_s
        for step_end_s in phase.step_ends_s:
            number += 1
            step_end_s = min(max(step_end_s, start_s), end_s)
            intervals.append(Interval(_step_name(number), start_s, step_end_s))
            start_s = step_end_s
        intervals.append(Interval(phase.name, start_s, end_s))
    return intervals


def _step_name(number: int) -> str:
    return f"step {number}"


def _step_count(run: Run) -> int:
    return sum(len(phase.step_ends_s) for phase in run.phases)


def _own_phases(run: Run) -> PooledPhases:
    """What the run alone says; its phases have energy wherever the run has."""
    energy_j = {
        name: sum(p.energy.energy_j for p in run.phases if p.name == name and p.energy is not None)
        for name in COMPUTE_PHASES
    }
    method = run.energy.method if run.energy is not None else "integrated"
    return PooledPhases(energy_j, method, 1)


def _method(run: Run, measured: Method) -> Method:
    """Estimates and simulations stay called so."""
    method = run.energy.method if run.energy is not None else measured
    return method if method in ("estimated", "simulated") else measured
