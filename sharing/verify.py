"""Whether the numbers of a run follow from each other and from its raw samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..measure.energy.attribution import Interval, integrate, share_ticks
from ..measure.energy.totals import total_energy
from ..records import COMPUTE_PHASES, CounterSample, EnergyReading, Phase, Run, Trace

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
    for source in _sources(run):
        yield from source.faults()
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


@dataclass(frozen=True)
class _Source:
    """A meter of a run: what each phase states by it, and its raw samples, where they were kept.

    ``by`` is what a sentence says of it, empty for the run's own.
    """

    by: str
    stated: tuple[tuple[Phase, EnergyReading], ...]
    trace: Trace
    phases: tuple[Phase, ...]

    def faults(self) -> Iterator[str]:
        """What it states that neither its counter nor its power says."""
        for phase, energy in self.stated:
            name = f"{phase.name}{self.by}"
            if not _is_of_a_source(energy):
                yield f"{name} states an energy that neither its counter nor its power has"
            stated_j, found_j = energy.integrated_j, self._by_power(phase)
            if stated_j is not None and found_j is not None and not _alike(stated_j, found_j):
                yield f"{name} took {found_j:.6g} J by its power samples, not {stated_j:.6g} J"
        yield from self._counter_faults()

    def _counter_faults(self) -> Iterator[str]:
        found_j = self._by_counter()
        compute = [energy for phase, energy in self.stated if phase.name in COMPUTE_PHASES]
        stated = [energy.counter_j for energy in compute if energy.counter_j is not None]
        if found_j is None or not stated:
            return
        stated_j = sum(stated)
        resolution_j = max(energy.resolution_j or 0.0 for energy in compute)
        if abs(found_j - stated_j) > COUNTER_TOLERANCE * found_j + 2 * resolution_j:
            yield f"its counter{self.by} gained {found_j:.6g} J, not {stated_j:.6g} J"

    def is_recomputed(self) -> bool:
        """Whether every energy that an image's is made of was held against raw samples."""
        by_counter = self._by_counter() is not None
        return all(
            (by_counter and energy.counter_j is not None)
            or (energy.integrated_j is not None and self._by_power(phase) is not None)
            for phase, energy in self.stated
            if phase.name in COMPUTE_PHASES
        )

    def _by_power(self, phase: Phase) -> float | None:
        """Joules of a phase by the power samples; ``None`` where these do not reach back to it."""
        try:
            return integrate(self.trace.power, phase.start_s, phase.start_s + phase.duration_s)
        except ValueError:
            return None

    def _by_counter(self) -> float | None:
        """Joules of an image's phases by the counter's ticks; ``None`` where they cannot be
        shared."""
        if not self.trace.counter:
            return None
        total_j, left = 0.0, list(self.phases)
        for ticks in _since_zero(self.trace.counter):
            end_s = ticks[-1].t_s
            own = [p for p in left if p.start_s + p.duration_s <= end_s]
            left = [p for p in left if p.start_s + p.duration_s > end_s]
            intervals = [Interval(p.name, p.start_s, p.start_s + p.duration_s) for p in own]
            try:
                shares = share_ticks(ticks, intervals, self.trace.tick_error_s) if own else []
            except ValueError:
                return None
            total_j += sum(j for p, j in zip(own, shares, strict=True) if p.name in COMPUTE_PHASES)
        return None if left else total_j


def _since_zero(counter: Sequence[CounterSample]) -> Iterator[Sequence[CounterSample]]:
    """The ticks, apart where the counter began anew: some count from when they are opened, and
    nodes that are measured one by one open them one after the other."""
    falls = [n for n in range(1, len(counter)) if counter[n].energy_j < counter[n - 1].energy_j]
    for first, end in pairwise((0, *falls, len(counter))):
        yield counter[first:end]


def _sources(run: Run) -> Iterator[_Source]:
    """The run's own meter, then those beside it."""
    own = tuple((phase, phase.energy) for phase in run.phases if phase.energy is not None)
    yield _Source("", own, run.trace, run.phases)
    traces = {beside.meter: beside.trace for beside in run.beside_traces}
    stated: dict[str, list[tuple[Phase, EnergyReading]]] = {}
    for phase in run.phases:
        for energy in phase.beside:
            stated.setdefault(energy.meter, []).append((phase, energy))
    for meter, readings in stated.items():
        trace = traces.get(meter, Trace())
        yield _Source(f" by {meter}", tuple(readings), trace, run.phases)


def _is_recomputed(run: Run) -> bool:
    """Whether every energy of an image, by each of its meters, was held against raw samples."""
    has_any = any(p.energy is not None for p in run.phases if p.name in COMPUTE_PHASES)
    return has_any and all(source.is_recomputed() for source in _sources(run))


def _alike(stated: float, found: float) -> bool:
    return math.isclose(stated, found, rel_tol=ROUNDING, abs_tol=1e-9)
