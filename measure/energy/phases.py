"""Energy of phases and steps over the repeats of a condition, from the runs' raw traces."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...records import COMPUTE_PHASES, EnergyReading, Method, Run
from .attribution import TickTable, integrate, tabulate_runs
from .pooling import Pool, TickedRun, pool
from .response import Floats, alike
from .totals import observed_energy

STEP = "step"

TABULATED_RUNS = 512
"""So many are laid over their intervals at once."""

MOST_LEVELS = 60
"""So many steps may have levels of their own in the fit of phases, which is made for many time
constants."""

MOST_STEPS = 200
"""Runs of more steps have no profile: its fit grows with the cube of their number."""


LEAST_TICKS = 3
"""A run that takes fewer of its counter's ticks has no pooled phases: power that is not even within
them hides in a tick, and no interval would hold what that makes wrong. An estimate from the CPU's
load has no such power."""

SLOW_COUNTER = "the counter ticks too seldom to tell the phases of a run as short as this"


@dataclass(frozen=True, slots=True)
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
        chosen = [runs[index] for index in group]
        parts = _observed(chosen[0], names)
        ticked = {}
        for index, table in zip(group, _tabulated(chosen), strict=True):
            found[index] = _own_phases(runs[index], group[index], parts)
            if table is not None:
                ticked[index] = _ticked(runs[index], table)
        method = _method(group[next(iter(group))], "attributed")
        short = [i for i, run in ticked.items() if _is_too_short(runs[i], run.table, parts)]
        for index in short if method != "estimated" else ():
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


def _is_too_short(run: Run, table: TickTable, parts: Sequence[str]) -> bool:
    span_s = sum(phase.duration_s for phase in run.phases if phase.name in parts)
    return span_s < LEAST_TICKS * table.tick_s


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
        _ticked(run, table)
        for run, table in zip(runs, _tabulated(runs, level_count), strict=True)
        if table is not None
    ]
    levels = [name for name in stepped[0].table.names if name.startswith(STEP)]
    fine = Pool(stepped, [*parts, *levels])
    return fine if fine.explains_more_than(coarse) else coarse


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
    steps = np.empty((len(runs), step_count, 2))
    for places, spans in _spans(runs, step_count):
        columns = [spans.names.index(name) for name in names]
        steps[places] = np.stack([spans.start_s, spans.end_s], axis=2)[:, columns]
    durations = (steps[..., 1] - steps[..., 0]).tolist()
    tables = [table for table in _tabulated(runs, step_count) if table is not None]
    if len(tables) == len(runs):
        ticked = [
            _ticked(run, table, own.energy_j["denoise"])
            for run, table, own in zip(runs, tables, phases, strict=True)
        ]
        # So many levels tell no time constant as well: it is the one of the phases.
        energies = pool(ticked, [*names, "denoise"], phases[0].time_constant_s)
        joules = energies[:, :step_count].tolist()
        yield StepProfile(runs, durations, joules, energy.meter, _method(energy, "attributed"))
        return
    try:
        integrals = [
            [integrate(run.trace.power, *span) for span in row]
            for run, row in zip(runs, steps.tolist(), strict=True)
        ]
    except ValueError:
        return
    yield StepProfile(runs, durations, integrals, energy.meter, _method(energy, "integrated"))


@dataclass(frozen=True)
class Spans:
    """Intervals of runs that have as many of each name; times are ``[runs, intervals]``."""

    names: tuple[str, ...]
    start_s: Floats
    end_s: Floats


def _spans(runs: Sequence[Run], level_count: int = 0) -> Iterator[tuple[list[int], Spans]]:
    """The phases of the runs, which have some, with each run's place.

    So many of their steps stand apart: those next to other phases. The rest is ``denoise``.
    """
    for group in alike(tuple((p.name, len(p.step_ends_s)) for p in run.phases) for run in runs):
        for first in range(0, len(group), TABULATED_RUNS):
            places = group[first : first + TABULATED_RUNS]
            yield places, _spans_alike([runs[place] for place in places], level_count)


def _spans_alike(runs: Sequence[Run], level_count: int) -> Spans:
    phases = np.array([[(p.start_s, p.duration_s) for p in run.phases] for run in runs])
    starts_s, ends_s = phases[..., 0], phases[..., 0] + phases[..., 1]
    names = tuple(phase.name for phase in runs[0].phases)
    if not level_count:
        return Spans(names, starts_s, ends_s)
    before = (level_count + 1) // 2
    inner = range(before, _step_count(runs[0]) - (level_count - before))
    spans: list[tuple[str, Floats, Floats]] = []
    step = 0
    for number, name in enumerate(names):
        start_s, end_s = starts_s[:, number], ends_s[:, number]
        for step_end_s in np.array([run.phases[number].step_ends_s for run in runs]).T:
            until_s = np.minimum(np.maximum(step_end_s, start_s), end_s)
            level = "denoise" if step in inner else _step_name(step + 1)
            spans.append((level, start_s, until_s))
            start_s, step = until_s, step + 1
        spans.append((name, start_s, end_s))
    columns = list(zip(*spans, strict=True))
    return Spans(columns[0], np.stack(columns[1], axis=1), np.stack(columns[2], axis=1))


def _tabulated(runs: Sequence[Run], level_count: int = 0) -> list[TickTable | None]:
    """Each run as its counter saw it; ``None`` where it has none or its ticks cannot be shared."""
    found: list[TickTable | None] = [None] * len(runs)
    for places, spans in _spans(runs, level_count):
        counters = [runs[place].trace.counter for place in places]
        tables = tabulate_runs(counters, spans.names, spans.start_s, spans.end_s)
        for place, table in zip(places, tables, strict=True):
            found[place] = None if isinstance(table, str) else table
    return found


def _ticked(run: Run, table: TickTable, energy_j: float | None = None) -> TickedRun:
    return TickedRun(table, run.trace.tick_error_s, energy_j)


def _step_name(number: int) -> str:
    return f"{STEP} {number}"


def _step_count(run: Run) -> int:
    return sum(len(phase.step_ends_s) for phase in run.phases)


def _own_phases(run: Run, energy: EnergyReading, observed: Sequence[str]) -> PooledPhases:
    """What the run alone says; each of its phases has energy."""
    energy_j = dict.fromkeys(observed, 0.0)
    for phase in run.phases:
        if phase.name in energy_j and phase.energy is not None:
            energy_j[phase.name] += phase.energy.energy_j
    return PooledPhases(energy_j, energy.method, 1)


def _method(energy: EnergyReading, measured: Method) -> Method:
    """Estimates and simulations stay called so."""
    return energy.method if energy.method in ("estimated", "simulated") else measured
