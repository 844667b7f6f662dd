"""What one glance at a set of runs must give: what an image costs, what is cheaper, and why."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..records import COMPUTE_PHASES, Estimate
from ..stats import estimate, independent_values
from ..tables.decimals import decimals_for
from .breakdown import ENERGIES, TIMES
from .comparison import NOT_ALL_PAIRED
from .labels import labels_of
from .summary import ConditionRuns
from .verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

GIB = 2**30
FEWEST_TICKS, MOST_TICKS = 3, 6
STEPS = (1, 2, 2.5, 5, 10)
FROM_ZERO = 0.7
"""An axis begins at 0 where the least of its values is below this part of the largest."""

FOLDER = re.compile(r"(?<=replay:)[^,]*[\\/]")
"""Where a recording lies that stands for a meter: nobody else's business, and a card is posted."""

DOING = {"text_encode": "text encoding", "denoise": "denoising", "decode": "decoding"}


@dataclass(frozen=True)
class Measure:
    """What is compared: a column of the table of runs, and what its values are divided by."""

    column: str
    unit: str
    divisor: float = 1.0
    phases: tuple[str, ...] = ()


MEASURES = (
    Measure("j_per_img", "J/img", phases=ENERGIES),
    Measure("s_per_img", "s/img", phases=TIMES),
    Measure("peak_vram_bytes", "GiB", GIB),
)


@dataclass(frozen=True)
class Axis:
    """A scale for all conditions; ``ticks`` include both ends."""

    ticks: tuple[float, ...]

    @property
    def low(self) -> float:
        return self.ticks[0]

    @property
    def high(self) -> float:
        return self.ticks[-1]


@dataclass(frozen=True)
class Compared:
    """One measure of all conditions.

    ``values`` has an entry for each row of the summary, ``None`` where nothing was measured.
    ``parts`` has for each row what an image takes of it, phase by phase; it is empty where that is
    not known. The axes are ``None`` where there is nothing to draw.
    """

    measure: Measure
    values: tuple[Estimate | None, ...]
    axis: Axis | None
    parts: tuple[dict[str, float], ...]
    parts_axis: Axis | None


@dataclass(frozen=True)
class Glance:
    """The facts of the result card and of the comparison.

    ``row`` is the condition whose numbers stand on the card: the first of the ``winners``, else the
    first of all. ``labels`` say what each condition differs by, ``common`` what all have in common.
    ``where`` says where the cost of ``row`` goes, ``verdict`` what is better, a sentence for each
    baseline, ``asides`` how sure that is and what could not be compared; all are sentences.
    ``vram_total_bytes`` is the memory of the device, ``energy_from`` the meter and its method.
    """

    row: int
    common: str
    labels: tuple[str, ...]
    compared: tuple[Compared, ...]
    where: str
    verdict: tuple[str, ...]
    asides: tuple[str, ...]
    winners: tuple[int, ...]
    vram_total_bytes: float | None
    energy_from: str


def glance_at(
    conditions: Sequence[ConditionRuns], summary: pd.DataFrame, verdicts: Sequence[Verdict]
) -> Glance | None:
    """``None`` where there is no condition, as of warm-ups alone."""
    if not conditions:
        return None
    common, labels = labels_of(summary)
    winners = tuple(v.best for v in verdicts if v.outcome == "better" and v.best is not None)
    row = winners[0] if winners else 0
    compared = tuple(_compared(measure, conditions) for measure in MEASURES)
    totals = conditions[row].measured["vram_total_bytes"].dropna().tolist()
    source = summary.iloc[row]
    meter = source["energy_meter"]
    notes = list(summary["comparison_note"])
    asides = [text for verdict in verdicts for text in _asides(verdict, labels, notes)]
    return Glance(
        row,
        common,
        tuple(labels),
        compared,
        _where(compared, row),
        tuple(filter(None, (_sentence(verdict, labels, notes) for verdict in verdicts))),
        tuple(dict.fromkeys(asides)),
        winners,
        float(max(totals)) if totals else None,
        f"{FOLDER.sub('', meter)} ({source['energy_method']})" if meter else "",
    )


def axis_of(values: Sequence[float], *, from_zero: bool = False) -> Axis | None:
    """A scale with round ticks that all ``values`` lie on; ``None`` without a value above 0.

    It begins at 0, so that lengths are to scale, unless the values differ, but so little that it
    would not be seen.
    """
    known = [value for value in values if math.isfinite(value)]
    if not known or max(known) <= 0:
        return None
    low, high = min(known), max(known)
    if from_zero or low == high or low < FROM_ZERO * high:
        low = min(0.0, low)
    span = high - low or abs(high) / 10
    raw = span / (MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in STEPS if s * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + FEWEST_TICKS - 1)
    return Axis(tuple(float(f"{n * step:.12g}") for n in range(first, last + 1)))


def _sentence(verdict: Verdict, labels: Sequence[str], notes: Sequence[object]) -> str:
    """What is better than one baseline; ``notes`` say for each row why it has no ratio."""
    if verdict.outcome == "nothing":
        if len(labels) == 1:
            return "No run counts, so that there is no result."
        return "No run of the baseline counts, so that there is no verdict."
    if verdict.outcome == "alone":
        several = "Each condition did other work: there is nothing to compare it with."
        return several if len(labels) > 1 else ""
    baseline = labels[verdict.baseline]
    if verdict.best is None or verdict.ratio is None:
        known = dict.fromkeys(
            str(note)
            for row, note in enumerate(notes)
            if row != verdict.baseline and note == note and note
        )
        if known:
            return f"Nothing can be compared with {baseline}: {'; '.join(known)}."
        return f"Nothing can be compared with {baseline}."
    name, ratio, count = labels[verdict.best], verdict.ratio, verdict.compared
    is_energy = verdict.metric == "j_per_img"
    what = "energy per image" if is_energy else "steps per second"
    percents = [100 * (value - 1) for value in (ratio.value, ratio.ci_low, ratio.ci_high)]
    digits = min(2, decimals_for(percents[0], (percents[2] - percents[1]) / 2))
    value, low, high = (f"{percent:+.{digits}f}" for percent in percents)
    change = f"{value} % {what}, {low} to {high} %"
    less, least, most = (f"{abs(percent):.{digits}f}" for percent in percents)
    return {
        "better": f"{name} takes {less} % less energy per image than {baseline} "
        f"({most} to {least} %)."
        if is_energy
        else f"{name} makes {less} % more steps per second than {baseline} ({least} to {most} %).",
        "worse": f"Keep {baseline}: all others are worse. The best of {count}, {name}: {change}.",
        "alike": f"{name} and {baseline} cannot be told apart: {change}."
        if count == 1
        else f"Nothing can be told apart from {baseline} for the better. The best of {count}, "
        f"{name}: {change}.",
    }[verdict.outcome]


def _asides(verdict: Verdict, labels: Sequence[str], notes: Sequence[object]) -> list[str]:
    """How sure a verdict is, and what could not be compared."""
    if verdict.best is None:
        return []
    names: dict[str, list[str]] = {}
    for row, reason in verdict.left_out:
        names.setdefault(reason, []).append(labels[row])
    sure = (
        "The intervals are of 95 %."
        if verdict.compared == 1
        else f"The intervals of all {verdict.compared} comparisons hold together at 95 %."
    )
    partly = str(notes[verdict.best])
    paired = [f"× of {labels[verdict.best]}: {partly}."] if NOT_ALL_PAIRED in partly else []
    left = [f"Not compared: {'; '.join(of)}: {reason}." for reason, of in names.items()]
    return [sure, *paired, *left]


def _compared(measure: Measure, conditions: Sequence[ConditionRuns]) -> Compared:
    values = []
    for condition in conditions:
        found = [
            value / measure.divisor
            for value in independent_values(condition.measured, measure.column)
        ]
        values.append(estimate(found, measure.unit) if found else None)
    ends = [end for v in values if v for end in (v.value, v.ci_low, v.ci_high)]
    parts = tuple(_parts(measure.phases, condition.measured) for condition in conditions)
    sums = [sum(max(0.0, part) for part in row.values()) for row in parts if row]
    return Compared(measure, tuple(values), axis_of(ends), parts, axis_of(sums, from_zero=True))


def _parts(columns: Sequence[str], measured: pd.DataFrame) -> dict[str, float]:
    """What an image takes in each phase, of the mean of the runs; empty where one is not known."""
    if not columns or not len(measured):
        return {}
    whole: dict[str, Any] = {
        phase: (measured[column] / measured["batch_size"].astype("float64")).dropna()
        for phase, column in zip(COMPUTE_PHASES, columns, strict=True)
    }
    if any(not len(values) for values in whole.values()):
        return {}
    return {phase: float(values.mean()) for phase, values in whole.items()}


def _where(compared: Sequence[Compared], row: int) -> str:
    """The largest phase first; of energy where that is known, else of time."""
    for one in compared:
        parts = one.parts[row]
        total = sum(parts.values())
        if parts and total > 0 and min(parts.values()) >= 0:
            shares = sorted(((part / total, DOING[name]) for name, part in parts.items()))[::-1]
            (a, first), (b, second), (c, third) = ((_percent(s), doing) for s, doing in shares)
            if one.measure.column == "j_per_img":
                return f"{a} % of its energy is {first}; {b} % {second}, {c} % {third}."
            return f"{a} % of its time is {first}; {b} % {second}, {c} % {third}."
    return ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.005 else "<1"
