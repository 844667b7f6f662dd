"""Folders of results beside each other, as a table and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..analysis.columns import condition_name
from ..analysis.comparison import COMPARED
from ..analysis.side_by_side import SHOWN, Side, side_by_side
from ..tables.decimals import with_half_width
from ..tables.table import BLANK, Table
from .summary import GIB, condition_cells, differing_columns

if TYPE_CHECKING:
    import pandas as pd

    from ..analysis.analysis import Analysis

HEADINGS = ("Condition", "Folder", "n", "it/s", "s/img", "J/img", "Peak VRAM (GiB)")
FIRST = "first"
NOTE = (
    "Runs of two folders are never pooled. A ratio is paired where both were measured in one "
    "process or block, on one machine; else it is of the means, with Welch's 95 % interval."
)


def side_by_side_table(analyses: Sequence[Analysis], names: Sequence[str]) -> Table:
    """A row for each condition of each folder, those of the same work beside each other."""
    rows = []
    for sides in side_by_side(analyses):
        for side in sides:
            rows.append(_cells(analyses[side.folder], names[side.folder], side))
    headings = (*HEADINGS, *COMPARED.values(), "Compared", "Note")
    return Table(headings, tuple(rows), (NOTE,))


def side_by_side_frame(analyses: Sequence[Analysis], names: Sequence[str]) -> pd.DataFrame:
    """The same as numbers, in SI units; blank where there is none."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for work, sides in enumerate(side_by_side(analyses)):
        for side in sides:
            analysis = analyses[side.folder]
            identity = analysis.conditions[side.row].identity
            row: dict[str, Any] = {
                "work": work,
                "folder": names[side.folder],
                "condition": condition_name(identity),
                "condition_id": identity["condition_id"],
                "n": len(analysis.conditions[side.row].measured),
            }
            for metric in SHOWN:
                found = side.values.get(metric)
                row[metric] = found.value if found else None
                row[f"{metric}_ci95"] = found.half_width if found else None
            for metric in COMPARED:
                ratio = side.ratios.get(metric)
                row[f"{metric}_ratio"] = ratio.value if ratio else None
                row[f"{metric}_ratio_low"] = ratio.ci_low if ratio else None
                row[f"{metric}_ratio_high"] = ratio.ci_high if ratio else None
            rows.append({**row, "compared": side.way, "note": side.note})
    return pd.DataFrame(rows)


def _cells(analysis: Analysis, name: str, side: Side) -> tuple[str, ...]:
    row = analysis.summary.to_dict("records")[side.row]
    label = condition_cells(row, differing_columns(analysis.summary))
    cells = [", ".join(cell for cell in label if cell != BLANK), name, str(row["n"])]
    for metric in SHOWN:
        found = side.values.get(metric)
        scale = GIB if metric == "peak_vram_bytes" else 1
        cells.append(
            with_half_width(found.value / scale, found.half_width / scale) if found else BLANK
        )
    for metric in COMPARED:
        ratio = side.ratios.get(metric)
        cells.append(with_half_width(ratio.value, ratio.half_width) if ratio else BLANK)
    way = side.way or (BLANK if side.note else FIRST)
    return (*cells, way, side.note or BLANK)
