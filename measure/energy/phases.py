"""Energy of phases and steps over the repeats of a condition, from the runs' raw traces."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...records import COMPUTE_PHASES, EnergyReading, Method, Run
from .attribution import Interval, integrate
from .pooling import Pool, TickedRun, pool
from .totals import observed_energy

STEP = "step"

MOST_LEVELS = 60
"""So many steps may have levels of their own in the fit of phases, which is made for many time
constants."""

MOST_STEPS = 200
"""Runs of more steps have no profile: its fit grows with the cube of their number."""


LEAST_TICKS = 3
"""A run that takes fewer of its counter's ticks has no pooled phases: power that is not even within
them hides in a tick, and no interval would hold what that makes wrong."""

SLOW_COUNTER = "the counter ticks too seldom to tell the phases of a run as short as this"


@dataclass(frozen=True)
class PooledPhases:
    """Joules of each compute phase that was observed, as its run's part of a pooled estimate.

    Mean and interval over the repeats are those of the estimate; a single run's value is rough and
    may be negative. ``run_count`` runs share the fit, which has found the board's
    ``time_constant_s``. Where it is 1 (a single run, a meter without a counter) the values are the
    run's own. Where ``note`` says why, there are none.
    """

    energy_j: dict[str, float]
    method: Method
    run_count: int
    time_constant_s: float | None = None
    note: str = ""


@dataclass(frozen=True)
class StepProfile:
    """Seconds and joules of each sampling step, ``[runs][steps]``, over runs made alike.

    Joules are parts of a pooled estimate, as in :class:`PooledPhases`.
    """

    runs: Sequence[Run]
    duration_s: Sequence[Sequence[float]]
    energy_j: Sequence[Sequence[float]]
    meter: str
    method: Method


def pooled_phases(
    runs: Sequence[Run], names: Sequence[str] = COMPUTE_PHASES
) -> list[PooledPhases | None]:
    """For each run its phases of these names; ``None`` where it does not count or has no energy."""
    found: list[PooledPhases | None] = [None] * len(runs)
    for group in _alike(runs, names):
        ticked = {}
        for index, energy in group.items():
            found[index] = _own_phases(runs[index], energy, names)
            run = _ticked(runs[index], _phase_intervals(runs[index]))
            if run is not None:
                ticked[index] = run
        parts = _observed(runs[next(iter(group))], names)
        method = _method(group[next(iter(group))], "attributed")
        for index in [index for index, run in ticked.items() if _is_too_short(run, parts)]:
            del ticked[index]
            if len(parts) > 1:
                found[index] = PooledPhases({}, method, 1, note=SLOW_COUNTER)
        if len(ticked) < 2:
            continue
        pool = _pooled([runs[index] for index in ticked], list(ticked.values()), parts)
        for index, row in zip(ticked, _by_part(pool, parts), strict=True):
            energy_j = dict(zip(parts, row, strict=True))
            found[index] = PooledPhases(energy_j, method, len(ticked), pool.constant_s)
    return found


def _is_too_short(run: TickedRun, parts: Sequence[str]) -> bool:
    span_s = sum(i.duration_s for i in run.intervals if i.name in parts)
    return span_s < LEAST_TICKS * float(np.median(run.table.duration_s))


def _pooled(runs: Sequence[Run], ticked: Sequence[TickedRun], parts: Sequence[str]) -> Pool:
    """The fit to the ticks of all runs.

    Where the power changes from step to step, a single level for all of them gives the wrong share
    of the ticks that they have in common with their neighbours. So each step has a level of its
    own where that explains the ticks better, or as many of them as the ticks can tell.
    """
    coarse = Pool(ticked, parts)
    (step_count, *others) = {_step_count(run) for run in runs}
    level_count = min(step_count, MOST_LEVELS, coarse.spare_levels)
    if others or level_count < 2 or "denoise" not in parts:
        return coarse
    stepped = [
        TickedRun.of(run.trace.counter, _outer_steps(run, level_count), one.tick_error_s)
        for run, one in zip(runs, ticked, strict=True)
    ]
    levels = dict.fromkeys(i.name for i in stepped[0].intervals if i.name.startswith(STEP))
    fine = Pool(stepped, [*parts, *levels])
    return fine if fine.explains_more_than(coarse) else coarse


def _outer_steps(run: Run, level_count: int) -> list[Interval]:
    """So many steps apart: those next to other phases. The rest is one level."""
    step_count = _step_count(run)
    first = (level_count + 1) // 2
    inner = {_step_name(n + 1) for n in range(first, step_count - (level_count - first))}
    return [replace(i, name="denoise") if i.name in inner else i for i in _step_intervals(run)]


def _by_part(pool: Pool, parts: Sequence[str]) -> list[list[float]]:
    """Joules of each part in each run; a fit by steps has them behind the parts."""
    values = pool.values()
    whole = values[:, : len(parts)]
    if values.shape[1] > len(parts):
        whole[:, list(parts).index("denoise")] += values[:, len(parts) :].sum(axis=1)
    return whole.tolist()


def step_profiles(
    runs: Sequence[Run], phases: Sequence[PooledPhases | None] | None = None
) -> list[StepProfile]:
    """A profile for each set of repeats whose steps were observed and whose meter tells energy.

    ``phases`` are the runs' :func:`pooled_phases` where they have been computed.
    """
    phases = pooled_phases(runs) if phases is None else phases
    profiles: list[StepProfile] = []
    for group in _alike(runs, COMPUTE_PHASES):
        counts = Counter(_step_count(runs[index]) for index in group)
        step_count = counts.most_common(1)[0][0]
        same = [index for index in group if _step_count(runs[index]) == step_count]
        if 0 < step_count <= MOST_STEPS:
            found = [own for i in same if (own := phases[i]) is not None]
            profiles += _profile([runs[i] for i in same], group[same[0]], found, step_count)
    return profiles


def _alike(runs: Sequence[Run], names: Sequence[str]) -> list[dict[int, EnergyReading]]:
    """Runs that count, by their index: each with the energy of what was observed of it.

    Together are those of one condition, environment and meter with the same phases.
    """
    groups: dict[object, dict[int, EnergyReading]] = defaultdict(dict)
    for index, run in enumerate(runs):
        energy, _ = observed_energy(run.phases, names)
        if energy is not None and run.counts:
            key = (run.condition, run.environment, energy.meter, _observed(run, names))
            groups[key][index] = energy
    return list(groups.values())


def _observed(run: Run, names: Sequence[str]) -> tuple[str, ...]:
    """Which of these phases the run has."""
    known = {phase.name for phase in run.phases}
    return tuple(name for name in names if name in known)


def _profile(
    runs: Sequence[Run],
    energy: EnergyReading,
    phases: Sequence[PooledPhases],
    step_count: int,
) -> Iterator[StepProfile]:
    if any(own.note for own in phases):
        return
    names = [_step_name(number) for number in range(1, step_count + 1)]
    steps = [[i for i in _step_intervals(run) if i.name in names] for run in runs]
    durations = [[interval.duration_s for interval in row] for row in steps]
    ticked = [
        _ticked(run, _step_intervals(run), own.energy_j["denoise"])
        for run, own in zip(runs, phases, strict=True)
    ]
    if None not in ticked:
        found = [run for run in ticked if run is not None]
        # So many levels tell no time constant as well: it is the one of the phases.
        energies = pool(found, [*names, "denoise"], phases[0].time_constant_s)
        joules = energies[:, :step_count].tolist()
        yield StepProfile(runs, durations, joules, energy.meter, _method(energy, "attributed"))
        return
    try:
        integrals = [
            [integrate(run.trace.power, i.start_s, i.end_s) for i in row]
            for run, row in zip(runs, steps, strict=True)
        ]
    except ValueError:
        return
    yield StepProfile(runs, durations, integrals, energy.meter, _method(energy, "integrated"))


def _ticked(
    run: Run, intervals: Sequence[Interval], energy_j: float | None = None
) -> TickedRun | None:
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
    return f"{STEP} {number}"


def _step_count(run: Run) -> int:
    return sum(len(phase.step_ends_s) for phase in run.phases)


def _own_phases(run: Run, energy: EnergyReading, names: Sequence[str]) -> PooledPhases:
    """What the run alone says; each of its phases has energy."""
    energy_j = {
        name: sum(p.energy.energy_j for p in run.phases if p.name == name and p.energy is not None)
        for name in _observed(run, names)
    }
    return PooledPhases(energy_j, energy.method, 1)


def _method(energy: EnergyReading, measured: Method) -> Method:
    """Estimates and simulations stay called so."""
    return energy.method if energy.method in ("estimated", "simulated") else measured
