"""What each card of a fleet costs for each work: rows of a table, by card after card.

One card's runs are in memory at a time, or one condition's of it, so that a fleet may have any
number of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ..analysis.analysis import Analysis
from ..analysis.columns import condition_name
from ..records import Estimate
from ..sharing.merge import MOST_TOGETHER
from ..sharing.union import Group, Union
from ..stats import estimate, independent_values
from .store import CARDS


@dataclass(frozen=True)
class CardRow:
    """One condition on one card. Estimates are over visits where there are several.

    ``work`` is what was computed, whatever computed it: rows of one work may be compared.
    ``together`` says that other cards of the machine measured at the same time, ``note`` what else
    is to be known.
    """

    card: str
    gpu: str
    work: str
    setting: str
    seconds: Estimate | None
    joules: Estimate | None
    peak_vram_bytes: Estimate | None
    idle_power_w: float | None
    meter: str
    run_count: int
    visit_count: int
    together: str = ""
    is_broken: bool = False
    note: str = ""


TOGETHER = "measured together with"


def folders_of(paths: Iterable[Path]) -> Iterator[Path]:
    """The folders of cards: those that a fleet's folder holds, and any other one as it is."""
    for path in paths:
        cards = sorted((path / CARDS).glob("*/")) if (path / CARDS).is_dir() else []
        yield from cards or [path]


def rows_of(paths: Iterable[Path]) -> Iterator[CardRow]:
    """The rows of all cards in these folders, of which a run counts.

    Raises:
        MergeError, BundleError, IncomingError: a folder, journal or bundle cannot be read.
    """
    for folder in folders_of(paths):
        with Union() as union:
            union.add(folder)
            for group in union.groups(MOST_TOGETHER):
                yield from _rows_of_group(union, group, folder.stem)


def _rows_of_group(union: Union, group: Group, name: str) -> list[CardRow]:
    some = list(islice(union.runs_of(group), MOST_TOGETHER))
    rows = rows_of_analysis(Analysis.of(some), name)
    if group.run_count <= MOST_TOGETHER:
        return list(rows)
    note = f"the first {MOST_TOGETHER} of {group.run_count} runs"
    return [replace(row, note=note) for row in rows]


def rows_of_analysis(analysis: Analysis, name: str = "") -> Iterator[CardRow]:
    """The rows of runs, of the card ``name``, or of those cards that they are told apart by."""
    for condition in analysis.conditions:
        said, measured = condition.identity, condition.measured
        if not len(measured):
            continue
        card = name or str(said["gpu_uuid"] or said["cpu_name"])
        gpu = str(said["gpu_name"] or said["cpu_name"] or name)
        idle = measured["idle_power_w"].dropna()
        flags = [flag for cell in measured["flags"] for flag in str(cell).split("; ")]
        together = [flag for flag in flags if flag.startswith(TOGETHER)]
        yield CardRow(
            card=card,
            gpu=_with_limit(gpu, said),
            work=condition_name(said),
            setting=_setting(said),
            seconds=_estimate(measured, "s_per_img", "s/img"),
            joules=_estimate(measured, "j_per_img", "J/img"),
            peak_vram_bytes=_estimate(measured, "peak_vram_bytes", "B"),
            idle_power_w=float(idle.mean()) if len(idle) else None,
            meter=", ".join(sorted({str(v) for v in measured["energy_method"]} - {""})),
            run_count=len(measured),
            visit_count=int(measured["process_id"].nunique()),
            together=together[0] if together else "",
            is_broken=bool((measured["picture_fault"] != "").any()),
        )


def _with_limit(gpu: str, said: dict[str, Any]) -> str:
    limit_w = said["power_limit_w"]
    return gpu if limit_w is None or limit_w != limit_w else f"{gpu}, {limit_w:g} W"


def _setting(said: dict[str, Any]) -> str:
    names = ("weight_format", "attention", "optimizations")
    return ", ".join(str(said[name]) for name in names if said[name])


def _estimate(measured: Any, column: str, unit: str) -> Estimate | None:
    values = independent_values(measured, column)
    return estimate(values, unit) if values else None
