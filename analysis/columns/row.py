"""A run with what its columns are computed from, each once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from ...measure.energy.phases import PooledPhases
from ...measure.energy.totals import observed_energy
from ...records import COMPUTE_PHASES, EnergyReading, Operation, Run


@dataclass(frozen=True)
class RunRow:
    """One row of ``runs.csv``: a run, and its part in the phases pooled over all runs."""

    run: Run
    pooled: PooledPhases | None = None

    @cached_property
    def observed(self) -> EnergyReading | None:
        """Energy of those compute phases that were observed, all or not."""
        return observed_energy(self.run.phases)[0]

    def time_s(self, phase: str) -> float | None:
        durations = [found.duration_s for found in self.run.phases if found.name == phase]
        return sum(durations) if durations else None

    @cached_property
    def image_time_s(self) -> float | None:
        """Seconds of the compute phases; ``None`` where one of them was not measured."""
        times = [self.time_s(name) for name in COMPUTE_PHASES]
        known = [time for time in times if time is not None]
        return sum(known) if len(known) == len(times) else None

    def energy_j(self, phase: str) -> float | None:
        """Joules of a phase from this run alone; ``None`` where a part of it has none."""
        energies = [found.energy for found in self.run.phases if found.name == phase]
        known = [energy.energy_j for energy in energies if energy is not None]
        return sum(known) if known and len(known) == len(energies) else None

    @cached_property
    def j_per_img(self) -> float | None:
        energy, batch = self.run.energy, self.run.condition.batch_size
        return energy.energy_j / batch if energy is not None and batch else None

    def kernels(self, operation: Operation, which: str) -> str:
        """Kernels ``requested``, ``executed`` or as ``fallbacks``, as ``sage_2: 560; sdpa: 12``."""
        counted: Counter[str] = Counter()
        for calls in self.run.kernel_calls:
            if calls.operation == operation:
                if which != "fallbacks":
                    counted[getattr(calls, which)] += calls.call_count
                elif calls.reason:
                    counted[f"{calls.executed}, because {calls.reason}"] += calls.call_count
        return "; ".join(f"{what}: {n}" for what, n in counted.most_common())
