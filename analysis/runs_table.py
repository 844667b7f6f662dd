"""Runs as a table: one row a run, the columns of ``runs.csv``.

A cell is empty where the value was not measured; ``energy_note``, ``vram_note`` or ``error`` in the
same row says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..measure.energy.phases import PooledPhases, pooled_phases
from ..records import Condition, Environment, Run
from ..tables.columns import ColumnType
from .columns import COLUMNS, IDENTIFYING, RUN_COLUMNS, TEXT_COLUMNS, RunRow

if TYPE_CHECKING:
    import pandas as pd

DTYPES: dict[ColumnType, str] = {
    "integer": "Int64",
    "unsigned": "UInt64",
    "flag": "bool",
    "number": "float64",
}
"""What pandas calls the types; text has none of its own, so that a blank can be an empty string."""


def runs_frame(
    runs: Sequence[Run], pooled: Sequence[PooledPhases | None] | None = None
) -> pd.DataFrame:
    """One row a run, in the order given, with the columns :data:`RUN_COLUMNS`.

    The pooled columns of a run depend on the other runs: they are its part in an estimate over all.
    ``pooled`` are these parts where they have been computed.
    """
    import pandas as pd

    parts = pooled_phases(runs) if pooled is None else pooled
    of_run = [column for column in COLUMNS if column not in IDENTIFYING]
    values_of = [column.value for column in of_run]
    in_common: dict[tuple[Condition, Environment], list[object]] = {}
    rows = []
    # Run by run and not column by column: what belongs to a run lies together in memory.
    for run, part in zip(runs, parts, strict=True):
        row, what = RunRow(run, part), (run.condition, run.environment)
        if what not in in_common:
            in_common[what] = [column.value(row) for column in IDENTIFYING]
        rows.append([*in_common[what], *[value(row) for value in values_of]])
    names = [column.name for column in (*IDENTIFYING, *of_run)]
    values = dict(zip(names, zip(*rows, strict=True), strict=False))
    return typed(pd.DataFrame(values, columns=RUN_COLUMNS))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with the column types that a CSV does not carry.

    Seeds stay Python integers: they go up to 2**64, which no floating-point column holds.
    """
    frame = frame.astype({c.name: DTYPES[c.type] for c in COLUMNS if c.type != "text"})
    frame[TEXT_COLUMNS] = frame[TEXT_COLUMNS].astype(object).fillna("").astype(str)
    return frame
