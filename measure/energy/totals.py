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
    readings = [phase.energy for phase in phases if phase.name in names]
    known = [reading for reading in readings if reading is not None]
    if not known:
        return None, ""
    if len(known) < len(readings):
        return None, "energy is missing for a part of the run"
    longest = known[0]
    for reading in known[1:]:
        if reading.meter != longest.meter or reading.scope != longest.scope:
            return None, "the parts of the run were measured by different meters"
        if reading.duration_s > longest.duration_s:
            longest = reading
    resolutions = [r.resolution_j for r in known if r.resolution_j is not None]
    return EnergyReading(
        sum([reading.energy_j for reading in known]),
        sum([reading.duration_s for reading in known]),
        longest.meter,
        longest.scope,
        longest.method,
        max(resolutions) if resolutions else None,
        sum([reading.sample_count for reading in known]),
        _sum_if_all([reading.counter_j for reading in known]),
        _sum_if_all([reading.integrated_j for reading in known]),
    ), ""


def _sum_if_all(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(value for value in values if value is not None)
