"""Any Python function, measured by the protocol: the door of scripts and notebooks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...host import Script
from ...records import Condition, Estimate, Run
from ...stats import estimate
from ...tables.decimals import with_half_width
from ..energy.phases import pooled_phases
from ..meters import Meter
from ..meters import open_meter as open_named
from ..recording.environment import identify
from ..recording.window import Window
from .experiment import Attempt, Plan
from .journal import Journal
from .observation import UNKNOWN, open_instrument
from .session import Session

WHOLE = "whole"
"""The one phase of a function that marks none."""

Work = Callable[[Window, int], Any]
"""What is measured: it is given the window, to mark phases in, and the repeat's seed."""


@dataclass(frozen=True)
class Cost:
    """Mean and interval of seconds and joules per call; ``energy`` is ``None`` where unmeasured."""

    time: Estimate
    energy: Estimate | None


@dataclass(frozen=True)
class Measured:
    """What a function costs; ``print`` shows it as a table.

    ``phases`` are in the order in which they first ran, ``total`` is all of them together; what
    lies outside of phases is not in it. ``energy_note`` says why joules are blank, or what to know
    of them. ``runs`` are the raw records, warm-ups and failures included.
    """

    name: str
    total: Cost
    phases: dict[str, Cost]
    energy_note: str
    runs: tuple[Run, ...]

    def __str__(self) -> str:
        repeats = [run for run in self.runs if not run.is_warmup]
        failed = sum(bool(run.error) for run in repeats)
        parts = self.phases.items() if len(self.phases) > 1 else ()
        rows = [("total", self.total), *parts]
        width = max(len(name) for name, _ in rows)
        ended = f", {failed} failed" if failed else ""
        interval = f"mean and {self.total.time.confidence:.0%} interval".replace("%", " %")
        lines = [f"{self.name}: {len(repeats)} repeats{ended}, {interval}"]
        for name, cost in rows:
            energy = "" if cost.energy is None else f"   {_text(cost.energy)}"
            lines.append(f"  {name:<{width}}   {_text(cost.time)}{energy}")
        first = next(run for run in repeats if not run.error)
        source = _source(first)
        if source:
            lines.append(f"energy: {source}")
        if self.energy_note:
            lines.append(f"energy: {self.energy_note}")
        return "\n".join(lines)


def function(
    work: Work,
    *,
    repeats: int = 10,
    warmups: int = 2,
    device: Any = "auto",
    meter: str = "auto",
    seed: int = 0,
    idle_s: float = 0.0,
    max_warmup_s: float = 0.0,
    journal: Path | str | None = None,
    confidence: float = 0.95,
) -> Measured:
    """Call ``work`` again and again, and measure what a call costs.

    Args:
        work: called as ``work(window, seed)``. Its parts go into ``with window.phase("name"):``,
            which may not overlap; without any, the whole call is one phase. On a GPU nothing is
            synchronised inside of it.
        repeats: calls that count, the first with ``seed``, the next one with ``seed + 1``, ….
        warmups: calls before them that do not.
        device: where it computes: a torch device or its name; ``auto`` is the GPU that torch has,
            else the CPU.
        meter: a name that ``wattbench doctor`` lists, as ``nvml:0``; ``auto`` is the best one that
            measures the device. Where there is none, joules are blank; an estimate has to be asked
            for by name, as ``estimate``.
        seed: of the first repeat.
        idle_s: how long to measure idle power before and after the repeats; it is in the runs.
        max_warmup_s: more warm-ups follow until the board is steady, for this long at most.
        journal: a file that every run is appended to as soon as it has ended; ``wattbench
            summary`` makes tables of it.
        confidence: of the intervals.

    Raises:
        MeterUnavailableError: the meter asked for by name cannot be opened.
        RuntimeError: every repeat failed.
        ValueError: ``repeats`` or ``warmups`` is out of range.
    """
    if repeats < 1 or warmups < 0:
        raise ValueError(f"one repeat or more, no warm-up or more: got {repeats} and {warmups}")
    path = None if journal is None else Path(journal)
    host = Script(Path() if path is None else path.parent, _torch_device(device))
    job = _Function(work)
    kept = None if path is None else Journal(path)
    plan = Plan(warmups, repeats, seed, max_warmup_s)
    with open_instrument(host, host.device(), meter) as (instrument, environment):
        runs = Session(host, job, instrument, environment, kept).carry_out(plan, idle_s)
    return measured(job.name, runs, confidence)


def measured(name: str, runs: Sequence[Run], confidence: float = 0.95) -> Measured:
    """Estimates of what the repeats among ``runs`` cost.

    Raises:
        RuntimeError: none of them ended well.
    """
    counted = [run for run in runs if not run.is_warmup and not run.error]
    if not counted:
        raise RuntimeError(f"every repeat failed, the last one with {runs[-1].error}")
    names = list(dict.fromkeys(phase.name for run in counted for phase in run.phases))
    pooled = [{} if found is None else found.energy_j for found in pooled_phases(counted, names)]

    def cost(wanted: Sequence[str]) -> Cost:
        """Of these phases together, over the runs that have any of them."""
        seconds, joules = [], []
        for run, energy_j in zip(counted, pooled, strict=True):
            had = [phase for phase in run.phases if phase.name in wanted]
            if had:
                seconds.append(sum(phase.duration_s for phase in had))
                joules.append(sum(energy_j.get(name, math.nan) for name in {p.name for p in had}))
        is_known = not any(map(math.isnan, joules))
        energy = estimate(joules, "J", confidence) if is_known else None
        return Cost(estimate(seconds, "s", confidence), energy)

    note = "; ".join(dict.fromkeys(filter(None, map(_energy_note, counted))))
    return Measured(name, cost(names), {part: cost([part]) for part in names}, note, tuple(runs))


@contextmanager
def open_meter(spec: str = "auto", device: Any = "auto") -> Iterator[Meter]:
    """A meter, closed at the end: ``with open_meter() as meter: meter.read_power_w()``.

    Args:
        spec: a name that ``wattbench doctor`` lists, or ``auto``.
        device: for ``auto`` the torch device that it has to measure, or its name.

    Raises:
        MeterUnavailableError: there is none; the message says why, meter by meter.
    """
    import torch

    meter = open_named(spec, identify(torch.device(_torch_device(device))))
    try:
        yield meter
    finally:
        meter.close()


class _Function:
    """A function as a job; what it returns is dropped."""

    def __init__(self, work: Work) -> None:
        self.name = str(getattr(work, "__qualname__", type(work).__qualname__)).split(".")[-1]
        self.condition = Condition(**{**UNKNOWN, "model": self.name})
        self._work = work

    def make(self, window: Window, seed: int) -> None:
        start = window.mark()
        self._work(window, seed)
        if not window.has_phases:
            window.add(WHOLE, start, window.mark())

    def look_at(self, made: Any, attempt: Attempt) -> None:
        return None


def _torch_device(device: Any) -> str:
    """The name of a torch device; of ``auto`` that of the first kind of GPU that torch has."""
    import torch

    if str(device) != "auto":
        return str(torch.device(device))
    kinds = (kind for kind in ("cuda", "xpu", "mps") if getattr(torch, kind).is_available())
    return next(kinds, "cpu")


def _energy_note(run: Run) -> str:
    """Without what is missing for an image: this need not be one."""
    notes = run.energy_note.split("; ")
    return "; ".join(note for note in notes if not note.startswith("no energy per image"))


def _text(value: Estimate) -> str:
    return f"{with_half_width(value.value, value.half_width)} {value.unit}"


def _source(run: Run) -> str:
    """Meter, scope and method of a run's longest phase that has energy."""
    phases = [phase for phase in run.phases if phase.energy is not None]
    if not phases:
        return ""
    reading = max(phases, key=lambda phase: phase.duration_s).energy
    return "" if reading is None else f"{reading.meter}, {reading.scope}, {reading.method}"
