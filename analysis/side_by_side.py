"""Folders of results beside each other: before and after, two cards, two releases.

Runs of two folders are never pooled. Conditions that do the same work are put beside each other;
their ratio is of pairs where both were measured in the same process or block, else of the means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..records import Estimate
from ..stats import estimate, independent_values, unpaired_ratio
from .columns import CONDITION_COLUMNS, ENVIRONMENT_COLUMNS
from .comparison import ADAPTIVE, COMPARED, WORKLOAD_COLUMNS, paired_note, pairs_of, ratio_of

if TYPE_CHECKING:
    import pandas as pd

    from .analysis import Analysis

SHOWN = {"it_per_s": "it/s", "s_per_img": "s/img", "j_per_img": "J/img", "peak_vram_bytes": "B"}
"""Metrics that are put beside each other, each with its unit."""

WORK = ("model", *WORKLOAD_COLUMNS)
PAIRED, UNPAIRED = "paired", "unpaired"


@dataclass(frozen=True)
class Side:
    """A condition in one folder; ``row`` is its place in that folder's summary.

    ``ratios`` are to the first folder that has the work, empty for that one. ``way`` says whether
    they are of pairs; ``note`` why there are none, or what else differs.
    """

    folder: int
    row: int
    values: dict[str, Estimate]
    ratios: dict[str, Estimate]
    way: str = ""
    note: str = ""


def side_by_side(analyses: Sequence[Analysis]) -> list[list[Side]]:
    """The same work in several folders, in the order of the first folder.

    Conditions that are equal in all folders stand beside each other. What is left of a work is put
    together where each folder has one condition of it: then its settings differ by intent.
    """
    groups: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for number, analysis in enumerate(analyses):
        for row, condition in enumerate(analysis.conditions):
            if len(condition.measured):
                key = tuple(str(condition.identity[name]) for name in CONDITION_COLUMNS)
                groups.setdefault(key, []).append((number, row))
    shared = [group for group in groups.values() if len({n for n, _ in group}) > 1]
    alone = [group for group in groups.values() if len({n for n, _ in group}) == 1]
    works: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for group in alone:
        identity = analyses[group[0][0]].conditions[group[0][1]].identity
        works.setdefault(tuple(str(identity[name]) for name in WORK), []).extend(group)
    for members in works.values():
        is_one_each = len({number for number, _ in members}) == len(members)
        shared += [members] if is_one_each else [[member] for member in members]
    return [_sides(analyses, members) for members in sorted(map(sorted, shared))]


def _sides(analyses: Sequence[Analysis], members: Sequence[tuple[int, int]]) -> list[Side]:
    tables = [analyses[number].conditions[row].measured for number, row in members]
    found: list[Side] = []
    for (number, row), measured in zip(members, tables, strict=True):
        values = {
            metric: estimate(known, unit)
            for metric, unit in SHOWN.items()
            if (known := independent_values(measured, metric))
        }
        if not found or number == found[0].folder:
            found.append(Side(number, row, values, {}))
        else:
            found.append(Side(number, row, values, *_compared(tables[0], measured)))
    return found


def _compared(first: pd.DataFrame, other: pd.DataFrame) -> tuple[dict[str, Estimate], str, str]:
    """Ratios to the first, whether of pairs, and a note."""
    for runs in (first, other):
        broken = int((runs["picture_fault"] != "").sum())
        if broken:
            return {}, "", f"{broken} of {len(runs)} pictures are broken"
    works = {str(runs.iloc[0]["work"]) for runs in (first, other)} - {""}
    if len(works) > 1 and not any(ADAPTIVE in work for work in works):
        return {}, "", "another work than the first's, as counted"
    notes = [_differing(first, other, CONDITION_COLUMNS)]
    elsewhere = _differing(first, other, ENVIRONMENT_COLUMNS)
    pairs = None if elsewhere else pairs_of(first, other)
    is_paired = pairs is not None and len(pairs) > 1
    ratios = {}
    for metric in COMPARED:
        if metric == "j_per_img" and _differing(first, other, ["energy_meter", "energy_method"]):
            notes.append("J/img is of another meter")
            continue
        before, after = (independent_values(runs, metric) for runs in (first, other))
        ratio = None
        if is_paired and pairs is not None:
            ratio = ratio_of(pairs, metric)
        elif before and after:
            ratio = unpaired_ratio(before, after)
        if ratio is not None:
            ratios[metric] = ratio
    if is_paired and pairs is not None:
        notes.append(paired_note(first, other, pairs, list(ratios)))
    notes.append(f"another environment ({elsewhere})" if elsewhere else "")
    return ratios, PAIRED if is_paired else UNPAIRED, "; ".join(filter(None, notes))


def _differing(first: pd.DataFrame, other: pd.DataFrame, columns: Sequence[str]) -> str:
    """``attention sdpa -> sage_2``; cards are only told to differ."""
    found = []
    for name in columns:
        before, after = str(first.iloc[0][name]), str(other.iloc[0][name])
        if before != after and name not in ("condition", "condition_id"):
            is_card = name == "gpu_uuid"
            found.append("another card" if is_card else f"{name} {before or '—'} → {after or '—'}")
    return ", ".join(found)
