"""Readings for the phases of a run, from whatever its meter gave."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from ...records import CounterSample, EnergyReading, Method, PowerSample
from ..energy.attribution import Interval, integrate, share_ticks
from ..meters import Meter
from .samples import Samples, around

COUNTED_TICKS = 50
"""A span of this many ticks is called ``counter``: borders can be wrong by two ticks, 4 %, at most.

A shorter one is called ``attributed``."""

DISAGREEMENT = 0.05
"""Relative difference of counter and integrated power above which a note says so."""

LEAST_SAMPLES = 15
"""From fewer samples of power nothing is said of whether the two agree."""

RECENT_SAMPLES = 200
"""So many power samples tell how often the sensor is refreshed."""


def read_energies(
    meter: Meter,
    samples: Samples,
    intervals: Sequence[Interval],
    reach_s: tuple[float, float] | None = None,
    still_fault: str = "",
) -> tuple[list[EnergyReading | None], str]:
    """A reading for each interval, or ``None`` for all of them, and what there is to say of it.

    The counter is preferred to integrated power; where both exist they are compared. ``reach_s``
    says from when to when nothing but the intervals ran: ticks beside them tell the power of rest,
    and so what belongs to the intervals of the ticks at their borders. ``still_fault`` says why the
    meter's power is not believed. Where only what checks a counter failed, its energy stands.
    """
    missing: list[EnergyReading | None] = [None] * len(intervals)
    if not intervals:
        return [], ""
    fault = f"{meter.name} failed during the run: {samples.faults[0]}" if samples.faults else ""
    start_s, end_s = intervals[0].start_s, intervals[-1].end_s
    counter = around(samples.counter, *(reach_s or (start_s, end_s)))
    power = around(samples.power, start_s, end_s)
    if samples.is_energy_lost or (fault and not counter):
        return missing, fault
    if counter and (fault or still_fault):
        power = ()
    if not counter and still_fault:
        return missing, f"{meter.name}: {still_fault}"
    if not counter and not power:
        return missing, f"{meter.name} gave no sample during the run"
    try:
        integrated = [integrate(power, i.start_s, i.end_s) for i in intervals] if power else []
        error_s = tick_error(samples, meter, start_s, end_s)
        counted = share_ticks(counter, intervals, error_s) if counter else []
    except ValueError as error:
        return missing, f"{meter.name}: {error}"
    tick_s, resolution_j = _tick(meter, counter)
    readings: list[EnergyReading | None] = [
        EnergyReading(
            energy_j,
            interval.duration_s,
            meter.name,
            meter.scope,
            _method(meter, interval.duration_s, tick_s),
            resolution_j,
            len(counter or power),
            counter_j=counted[index] if counted else None,
            integrated_j=integrated[index] if integrated else None,
        )
        for index, (interval, energy_j) in enumerate(
            zip(intervals, counted or integrated, strict=True)
        )
    ]
    notes = [meter.note, fault, still_fault]
    notes.append(disagreement(counter, samples.power) if counter and power else "")
    return readings, "; ".join(note for note in notes if note)


def tick_error(samples: Samples, meter: Meter, start_s: float, end_s: float) -> float:
    """How well the counter's ticks around a span are timed, in seconds, on average."""
    errors = [tick.error_s for tick in around(samples.tick_errors, start_s, end_s)]
    return sum(errors) / len(errors) if errors else meter.poll_period_s


def disagreement(counter: Sequence[CounterSample], power: list[PowerSample]) -> str:
    """What to note where a counter and the power integrated between its ticks disagree.

    Both are taken from the first tick to the last, so that neither depends on attribution. A power
    sensor is refreshed now and then and read now and then, so it may lag the counter by both
    periods, which shifts as much energy across the ends of the span (on an H200 it lagged by 80 ms
    of 100); only what goes beyond that is a disagreement.
    """
    start_s, end_s = counter[0].t_s, counter[-1].t_s
    within = around(power, start_s, end_s)
    if len(within) < LEAST_SAMPLES or within[0].t_s > start_s:
        return ""
    counted_j = counter[-1].energy_j - counter[0].energy_j
    integrated_j = integrate(within, start_s, end_s)
    beyond_j = abs(integrated_j - counted_j) - DISAGREEMENT * counted_j
    if beyond_j <= 0:
        return ""
    levels = [sample.power_w for sample in within]
    recent = power[-RECENT_SAMPLES:]
    lag_s = refresh_period(recent) + median(b.t_s - a.t_s for a, b in pairwise(recent))
    if beyond_j <= (max(levels) - min(levels)) * lag_s:
        return ""
    percent = 100 * (integrated_j / counted_j - 1)
    return f"integrated power differs from the counter by {percent:+.1f} %"


def refresh_period(power: Sequence[PowerSample]) -> float:
    """Median time in seconds between changes of the reported power; 0 where it never changes."""
    changes = [b.t_s for a, b in pairwise(power) if a.power_w != b.power_w]
    return median(b - a for a, b in pairwise(changes)) if len(changes) > 1 else 0.0


def _tick(meter: Meter, counter: Sequence[CounterSample]) -> tuple[float, float | None]:
    """Seconds and joules of a tick, in the middle; 0 and ``None`` without a counter."""
    if not counter:
        return 0.0, None
    tick_s = median(b.t_s - a.t_s for a, b in pairwise(counter))
    resolution_j = median(b.energy_j - a.energy_j for a, b in pairwise(counter))
    return tick_s, meter.energy_resolution_j if meter.is_computed else resolution_j


def _method(meter: Meter, duration_s: float, tick_s: float) -> Method:
    if meter.provenance != "measured":
        return meter.provenance
    if not tick_s:
        return "integrated"
    return "counter" if duration_s >= COUNTED_TICKS * tick_s else "attributed"
