"""Two summaries beside each other, from their tables alone; nothing of them is pooled.

Conditions of the same work are put beside each other; their ratio is that of the means, with
Welch's interval. All conditions of both stand on one axis, each with its own interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..records import Estimate
from ..stats import ratio_of_means, student_t
from .columns import CONDITION_COLUMNS, ENVIRONMENT_COLUMNS
from .comparison import ADAPTIVE
from .glance import MEASURES, Axis, Measure, axis_of
from .labels import labels_of
from .side_by_side import WORK

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

CONFIDENCE = 0.95
SAME = tuple(name for name in CONDITION_COLUMNS if name not in ("condition", "condition_id"))
SOURCES = ("energy_meter", "energy_method")

NEEDED = (
    *CONDITION_COLUMNS,
    *(f"{measure.column}_{part}" for measure in MEASURES for part in ("mean", "stdev", "n")),
    *(*SOURCES, "n", "fallback_runs", "broken_pictures", *ENVIRONMENT_COLUMNS),
)
"""Columns of a ``summary.csv`` that a comparison needs."""

OTHER_METER = "J/img is of another meter"
BROKEN = "a picture is broken"
OTHER_WORK = "another work than the first's, as counted"
SEVERAL_METERS = "J/img of several meters stand here: their difference may be the meters'."


@dataclass(frozen=True)
class Beside:
    """A condition of one table, and that of the other which does the same work.

    ``ratios`` are other over own, by metric; ``notes`` say what else differs, and why a ratio is
    missing.
    """

    own: int
    other: int
    ratios: dict[str, Estimate]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class OnOneAxis:
    """A measure of all conditions of both tables; ``values`` are ``None`` where none is known."""

    measure: Measure
    values: tuple[Estimate | None, ...]
    axis: Axis | None
    note: str


@dataclass(frozen=True)
class Together:
    """The conditions of both tables, those of the first before the others.

    ``files`` has 0 for a condition of the first table, 1 for one of the other. ``labels`` say what
    each differs by, from those of its own table and of the other.
    """

    files: tuple[int, ...]
    labels: tuple[str, ...]
    measures: tuple[OnOneAxis, ...]


def together(own: pd.DataFrame, other: pd.DataFrame) -> Together:
    """All conditions with a run that counts, for one chart; nothing is pooled."""
    import pandas as pd

    # As objects whole numbers stay whole beside a blank of the other table.
    kept = [frame.loc[frame["n"] > 0, list(NEEDED)].astype(object) for frame in (own, other)]
    joined = pd.concat(kept, ignore_index=True)
    rows = _rows(joined)
    measures = []
    for measure in MEASURES:
        values = [estimate_of(row, measure) for row in rows]
        ends = [end for v in values if v for end in (v.value, v.ci_low, v.ci_high)]
        sources = {
            tuple(_text(row[name]) for name in SOURCES)
            for row, value in zip(rows, values, strict=True)
            if value
        }
        note = SEVERAL_METERS if measure.column == "j_per_img" and len(sources) > 1 else ""
        measures.append(OnOneAxis(measure, tuple(values), axis_of(ends), note))
    files = (0,) * len(kept[0]) + (1,) * len(kept[1])
    return Together(files, tuple(labels_of(joined)[1]), tuple(measures))


def beside(own: pd.DataFrame, other: pd.DataFrame) -> list[Beside]:
    """Conditions that are equal in all settings; of what is left those of the same work, where
    each table has one of it: then their settings differ by intent."""
    firsts, others = (_rows(frame) for frame in (own, other))
    found: list[tuple[int, int]] = []
    for columns in (SAME, WORK):
        left = {n for n, _ in found}, {n for _, n in found}
        keys, other_keys = (
            _by_key(rows, columns, taken) for rows, taken in ((firsts, left[0]), (others, left[1]))
        )
        found += [
            (members[0], other_keys[key][0])
            for key, members in keys.items()
            if len(members) == 1 and len(other_keys.get(key, ())) == 1
        ]
    return [Beside(n, m, *_compared(firsts[n], others[m])) for n, m in sorted(found)]


def estimate_of(row: Row, measure: Measure) -> Estimate | None:
    """What a row of a summary tells of a measure; the interval of one value is NaN."""
    mean, stdev, count = (row[f"{measure.column}_{part}"] for part in ("mean", "stdev", "n"))
    if mean is None or math.isnan(mean):
        return None
    value, n, spread, half = float(mean) / measure.divisor, int(count), math.nan, math.nan
    if n > 1 and stdev is not None and not math.isnan(stdev):
        spread = float(stdev) / measure.divisor
        half = student_t(n - 1, CONFIDENCE) * spread / math.sqrt(n)
    return Estimate(value, value - half, value + half, CONFIDENCE, n, measure.unit, spread)


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _by_key(
    rows: Sequence[Row], columns: Sequence[str], taken: set[int]
) -> dict[tuple[str, ...], list[int]]:
    found: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(rows):
        if number not in taken and row["n"] > 0:
            found.setdefault(tuple(_text(row[name]) for name in columns), []).append(number)
    return found


def _text(value: object) -> str:
    """Equal for what is equal in two tables, whole numbers and fractions alike."""
    if value is None or value != value:
        return ""
    return f"{value:.12g}" if isinstance(value, (int, float)) else str(value)


def _compared(own: Row, other: Row) -> tuple[dict[str, Estimate], tuple[str, ...]]:
    if own["broken_pictures"] or other["broken_pictures"]:
        return {}, (BROKEN,)
    works = {_text(row["work"]) for row in (own, other)} - {""}
    if len(works) > 1 and not any(ADAPTIVE in work for work in works):
        return {}, (OTHER_WORK,)
    differing = [name for name in SAME if _text(own[name]) != _text(other[name])]
    notes = [
        f"{name} {_text(own[name]) or '—'} → {_text(other[name]) or '—'}" for name in differing
    ]
    elsewhere = [name for name in ENVIRONMENT_COLUMNS if _text(own[name]) != _text(other[name])]
    if elsewhere:
        notes.append(f"another environment ({', '.join(elsewhere)})")
    ratios = {}
    for measure in MEASURES:
        if measure.column == "j_per_img" and any(
            _text(own[name]) != _text(other[name]) for name in SOURCES
        ):
            notes.append(OTHER_METER)
            continue
        known = [estimate_of(row, measure) for row in (own, other)]
        first, second = known
        if first is not None and second is not None and first.value > 0 and second.value > 0:
            ratios[measure.column] = ratio_of_means(first, second)
    return ratios, tuple(notes)
