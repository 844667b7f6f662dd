"""What a matrix leaves: tables, a page, raw runs, a row for each cell, also where none ran."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analysis.analysis import Analysis
from ..measure.protocol.journal import dumps
from ..report import write_analysis
from ..report.export import RAW_FILE
from ..report.folder import CELL_COLUMNS, CELLS_FILE, COST_COLUMNS
from ..report.html import write_page
from ..tables.csv import write_frame
from ..tables.files import write_text
from ..tables.markdown import bullets
from .matrix import Matrix, geometric_mean
from .pictures import with_distances
from .plan import Cell
from .precision import QUANTITIES, known

if TYPE_CHECKING:
    import pandas as pd

MEASURED, FAILED, SKIPPED = "measured", "failed", "skipped"


def write_results(matrix: Matrix, folder: Path) -> list[str]:
    """Write the tables, ``cells.csv``, the raw runs and the page; what to tell, a line each.

    Raises:
        OSError: the folder cannot be written.
    """
    cells = cells_frame(matrix)
    lines = [str(write_frame(cells, folder / CELLS_FILE))]
    baseline_of = {cell.name: matrix.plan.baseline_of(cell).name for cell in matrix.ready.cells}
    runs = with_distances(matrix.runs(), baseline_of, folder)
    if not runs:
        return [*lines, "nothing was measured, so there are no tables"]
    write_text("".join(f"{dumps(run)}\n" for run in runs), folder / RAW_FILE)
    missing = cells[cells["status"] != MEASURED]
    told = [f"{row.cell}: {row.status}, {row.reason}" for row in missing.itertuples()]
    preface = ["## Cells that were not measured", "", *bullets(told), ""] if told else []
    lines += [str(path) for path in write_analysis(Analysis.of(runs), folder, preface)]
    return [*lines, write_page(folder)]


def cells_frame(matrix: Matrix) -> pd.DataFrame:
    """A row for each cell: how it went, its visits, what it took, and why it was not measured."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    made = matrix.journal.made
    ratios = known(matrix.plan, matrix.ready.cells, made)
    for cell in matrix.ready.cells:
        visits = [visit for visit in made if visit.cell == cell.name]
        errors = [f"block {visit.block + 1}: {visit.error}" for visit in visits if visit.error]
        status = FAILED if errors else MEASURED if visits else SKIPPED
        reason = "; ".join(errors) or ("" if visits else "the matrix ended before its turn")
        row = _row(cell, status, len(visits), reason)
        is_baseline = matrix.plan.baseline_of(cell) == cell
        for quantity in QUANTITIES:
            values = [getattr(visit, quantity) for visit in visits]
            row[quantity] = geometric_mean(values)
            ratio = None if is_baseline else ratios.get((cell.name, quantity))
            bounds = (ratio.value, ratio.ci_low, ratio.ci_high) if ratio else (None,) * 3
            for end, value in zip(("", "_low", "_high"), bounds, strict=True):
                known_value = value is not None and math.isfinite(value)
                row[f"{quantity}_ratio{end}"] = value if known_value else None
        rows.append(row)
    rows += [_row(one.cell, SKIPPED, 0, one.reason) for one in matrix.ready.skipped]
    return pd.DataFrame(rows, columns=[*CELL_COLUMNS, *COST_COLUMNS])


def _row(cell: Cell, status: str, visits: int, reason: str) -> dict[str, Any]:
    values = (cell.name, cell.workload, status, visits, reason)
    return dict(zip(CELL_COLUMNS, values, strict=True))
