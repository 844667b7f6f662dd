"""Energy of a run's phases together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ...records import COMPUTE_PHASES, EnergyReading, Phase


def total_energy(phases: Iterable[Phase]) -> tuple[EnergyReading | None, str]:
    """Energy of text encoding, denoising and decoding together, or ``None`` and the reason.

    The reason is empty where no phase has energy: the meter's own says more.
    """
    phases = tuple(phases)
    reading, gap = observed_energy(phases)
    absent = [name for name in COMPUTE_PHASES if name not in {phase.name for phase in phases}]
    if reading is not None and absent:
        return None, f"no energy per image: {', '.join(absent)} not measured"
    return reading, gap


def observed_energy(
    phases: Iterable[Phase], names: Collection[str] = COMPUTE_PHASES
) -> tuple[EnergyReading | None, str]:
    """As :func:`total_energy`, of whichever phases of these names were observed.

    Its method is that of the longest of them, its resolution the coarsest.
    """
    compute = [phase for phase in phases if phase.name in names]
    readings = [phase.energy for phase in compute if phase.energy is not None]
    if not readings:
        return None, ""
    if len(readings) < len(compute):
        return None, "energy is missing for a part of the run"
    if len({(reading.meter, reading.scope) for reading in readings}) > 1:
        return None, "the parts of the run were measured by different meters"
    longest = max(readings, key=lambda reading: reading.duration_s)
    resolutions = [r.resolution_j for r in readings if r.resolution_j is not None]
    return EnergyReading(
        energy_j=sum([reading.energy_j for reading in readings]),
        duration_s=sum([reading.duration_s for reading in readings]),
        meter=longest.meter,
        scope=longest.scope,
        method=longest.method,
        resolution_j=max(resolutions) if resolutions else None,
        sample_count=sum([reading.sample_count for reading in readings]),
        counter_j=_sum_if_all([reading.counter_j for reading in readings]),
        integrated_j=_sum_if_all([reading.integrated_j for reading in readings]),
    ), ""


def _sum_if_all(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(value for value in values if value is not None)
