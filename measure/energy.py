"""Readings for the phases of a run, from whatever its meter gave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .attribution import Interval, integrate, share_ticks
from .meters import Meter
from .records import CounterSample, EnergyReading, Method
from .sampler import Samples, around

COUNTED_TICKS = 50
"""A span of this many ticks is called ``counter``: borders can be wrong by two ticks, 4 %, at most.

A shorter one is called ``attributed``."""

DISAGREEMENT = 0.05
"""Relative difference of counter and integrated power above which a note says so."""


def read_energies(
    meter: Meter, samples: Samples, intervals: Sequence[Interval]
) -> tuple[list[EnergyReading | None], str]:
    """A reading for each interval, or ``None`` for all of them, and what there is to say of it.

    The counter is preferred to integrated power; where both exist they are compared.
    """
    missing: list[EnergyReading | None] = [None] * len(intervals)
    if not intervals:
        return [], ""
    if samples.faults:
        return missing, f"{meter.name} failed during the run: {samples.faults[0]}"
    start_s, end_s = intervals[0].start_s, intervals[-1].end_s
    counter = around(samples.counter, start_s, end_s)
    power = around(samples.power, start_s, end_s)
    try:
        integrated = [integrate(power, i.start_s, i.end_s) for i in intervals] if power else None
        joules = share_ticks(counter, intervals, meter.poll_period_s) if counter else integrated
    except ValueError as error:
        return missing, f"{meter.name}: {error}"
    if joules is None:
        return missing, f"{meter.name} gave no sample during the run"
    readings: list[EnergyReading | None] = [
        _reading(meter, interval, energy_j, counter, len(counter or power))
        for interval, energy_j in zip(intervals, joules, strict=True)
    ]
    notes = [meter.note, _disagreement(joules, integrated) if integrated and counter else ""]
    return readings, "; ".join(note for note in notes if note)


def _reading(
    meter: Meter,
    interval: Interval,
    energy_j: float,
    counter: Sequence[CounterSample],
    sample_count: int,
) -> EnergyReading:
    method: Method = "integrated"
    resolution_j = None
    if counter:
        tick_s = float(np.median(np.diff([tick.t_s for tick in counter])))
        resolution_j = float(np.median(np.diff([tick.energy_j for tick in counter])))
        method = "counter" if interval.duration_s >= COUNTED_TICKS * tick_s else "attributed"
    if meter.provenance != "measured":
        method = meter.provenance
    return EnergyReading(
        energy_j, interval.duration_s, meter.name, meter.scope, method, resolution_j, sample_count
    )


def _disagreement(counted: Sequence[float], integrated: Sequence[float]) -> str:
    total, other = sum(counted), sum(integrated)
    if total > 0 and abs(other - total) <= DISAGREEMENT * total:
        return ""
    return f"counter {total:.4g} J and integrated power {other:.4g} J disagree by over 5 %"
