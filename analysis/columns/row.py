"""A run with what its columns are computed from, each once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from ...law.flop import FORMULAS
from ...measure.energy.phases import PooledPhases
from ...measure.energy.totals import observed_energy, total_energy
from ...measure.recording.work import unlike
from ...records import COMPUTE_PHASES, EnergyReading, Operation, Phase, Run, Scope

if TYPE_CHECKING:
    from functools import cached_property as once
else:

    class once:  # noqa: N801
        """``cached_property`` without the lock that it has before Python 3.12, which costs more
        than most of what is kept here."""

        def __init__(self, function: Any) -> None:
            self.function, self.__doc__ = function, function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, row: Any, owner: type) -> Any:
            if row is None:
                return self
            value = row.__dict__[self.name] = self.function(row)
            return value


@dataclass(frozen=True)
class RunRow:
    """One row of ``runs.csv``: a run, and its part in the phases pooled over all runs."""

    run: Run
    pooled: PooledPhases | None = None

    @once
    def observed(self) -> EnergyReading | None:
        """Energy of those compute phases that were observed, all or not."""
        return observed_energy(self.run.phases)[0]

    @property
    def pooled_note(self) -> str:
        """Why its phases are not pooled; empty where they are, or were never to be."""
        return self.pooled.note if self.pooled else ""

    @once
    def beside(self) -> dict[str, EnergyReading | None]:
        """Energy of the image by each meter that was read beside the run's own, by its name."""
        found: dict[str, EnergyReading | None] = {}
        for meter in self.run.beside_meters:
            phases = [
                replace(phase, energy=next((r for r in phase.beside if r.meter == meter), None))
                for phase in self.run.phases
            ]
            found[meter] = None if self.run.unmeasured else total_energy(phases)[0]
        return found

    @once
    def scopes(self) -> dict[Scope, EnergyReading]:
        """Energy of the image by what the meters cover; no two of a run cover the same."""
        known = (reading for reading in (self.run.energy, *self.beside.values()) if reading)
        return {reading.scope: reading for reading in known}

    @once
    def total_j(self) -> float | None:
        """All scopes together, times the PUE; ``None`` where one of them is missing.

        A single scope without a PUE has no total: it would say the same as ``energy``.
        """
        asked = 1 + len(self.run.beside_meters)
        if len(self.scopes) < asked or (asked == 1 and self.run.pue is None):
            return None
        return sum(r.energy_j for r in self.scopes.values()) * (self.run.pue or 1.0)

    @once
    def powers_w(self) -> list[float]:
        """What the meter gave as power while the run went on."""
        duration_s = self.run.wall_time_s or 0.0
        return [power_w for t_s, power_w in self.run.trace.power if 0 <= t_s <= duration_s]

    @once
    def phases(self) -> dict[str, list[Phase]]:
        """The run's phases by their names."""
        found: dict[str, list[Phase]] = {}
        for phase in self.run.phases:
            found.setdefault(phase.name, []).append(phase)
        return found

    def time_s(self, phase: str) -> float | None:
        found = self.phases.get(phase)
        return sum([one.duration_s for one in found]) if found else None

    @once
    def busy_share(self) -> float | None:
        """How much of the denoising the device had work; ``None`` unless all of it tells."""
        known = [(s.duration_s, s.busy.share) for s in self.run.samplings if s.busy is not None]
        parts = [(time, share) for time, share in known if time and share is not None]
        if not parts or len(parts) < len(self.run.samplings):
            return None
        return sum(time * share for time, share in parts) / sum(time for time, _ in parts)

    @property
    def busy_note(self) -> str:
        """Why that is not known; empty where it is."""
        notes = [sampling.busy.note for sampling in self.run.samplings if sampling.busy is not None]
        return "; ".join(dict.fromkeys(filter(None, notes)))

    @property
    def dynamic_vram(self) -> str:
        """``on``, ``off`` or both, by what was in force in the samplings; empty if unknown."""
        seen = (s.is_dynamic for s in self.run.samplings)
        return ", ".join(dict.fromkeys("on" if one else "off" for one in seen if one is not None))

    @once
    def steps_made(self) -> int | None:
        """Steps that the samplers reported, of all samplings; ``None`` where nobody counted."""
        if self.run.samplings:
            return sum(sampling.steps_made for sampling in self.run.samplings)
        return sum(len(phase.step_ends_s) for phase in self.run.phases) or None

    @once
    def rate_note(self) -> str:
        """Why a rate over the steps would mean nothing; empty where it means something."""
        return unlike(self.run.samplings)

    @once
    def rated_steps(self) -> int | None:
        """The steps that rates are over; ``None`` where there is no such rate."""
        return None if self.rate_note else self.steps_made

    @once
    def flop_count(self) -> int | None:
        """FLOPs of the forwards that were counted; ``None`` where one of them has no formula."""
        flops = 0
        for sampling in self.run.samplings:
            if sampling.architecture not in FORMULAS or not sampling.forwards:
                return None
            for calls in sampling.forwards:
                if calls.token_count is None or calls.control_count or len(calls.shape) != 4:
                    return None
                forward = _forward_flops(sampling.architecture, calls.shape, calls.token_count)
                flops += calls.call_count * forward
        return flops or None

    @once
    def image_time_s(self) -> float | None:
        """Seconds of the compute phases; ``None`` where a part of the image was not measured."""
        if self.run.unmeasured:
            return None
        times = [self.time_s(name) for name in COMPUTE_PHASES]
        known = [time for time in times if time is not None]
        return sum(known) if len(known) == len(times) else None

    def energy_j(self, phase: str) -> float | None:
        """Joules of a phase from this run alone; ``None`` where a part of it has none."""
        energies = [found.energy for found in self.phases.get(phase, ())]
        known = [energy.energy_j for energy in energies if energy is not None]
        return sum(known) if known and len(known) == len(energies) else None

    @once
    def j_per_img(self) -> float | None:
        energy, batch = self.run.energy, self.run.condition.batch_size
        return energy.energy_j / batch if energy is not None and batch else None

    def kernels(self, operation: Operation, which: str) -> str:
        """Kernels ``requested``, ``executed`` or as ``fallbacks``, as ``sage_2: 560; sdpa: 12``."""
        if not self.run.kernel_calls:
            return ""
        counted: Counter[str] = Counter()
        for calls in self.run.kernel_calls:
            if calls.operation == operation:
                if which != "fallbacks":
                    counted[getattr(calls, which)] += calls.call_count
                elif calls.reason:
                    counted[f"{calls.executed}, because {calls.reason}"] += calls.call_count
        return "; ".join(f"{what}: {n}" for what, n in counted.most_common())


@cache
def _forward_flops(architecture: str, shape: tuple[int, ...], token_count: int) -> int:
    """FLOPs of one forward of a latent of four dimensions."""
    rows, _, height, width = shape
    formula = FORMULAS[architecture]
    size_px = width * formula.px_per_cell, height * formula.px_per_cell
    return formula.evaluation(*size_px, token_count).batched(rows).flops
