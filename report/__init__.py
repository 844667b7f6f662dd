"""An analysis shown: one module an output. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.analysis import Analysis
from ..analysis.runs_table import runs_frame
from ..records import Run
from ..tables.table import Table
from .csv import read_runs
from .export import append_runs, check_unused, reserved, write_analysis, write_table
from .summary import summary_table
from .text import analysis_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "analysis_text",
    "append_runs",
    "check_unused",
    "read_runs",
    "reserved",
    "runs_frame",
    "summary_text",
    "table_of",
    "write_all",
    "write_analysis",
    "write_table",
]


def write_all(runs: Sequence[Run], folder: Path) -> list[Path]:
    """:func:`.export.write_analysis` of runs."""
    return write_analysis(Analysis.of(runs), folder)


def summary_text(runs: Sequence[Run]) -> str:
    """:func:`.text.analysis_text` of runs."""
    return analysis_text(Analysis.of(runs))


def table_of(frame: pd.DataFrame) -> Table:
    """The summary of a table of runs, ready to be shown."""
    return summary_table(Analysis(frame))
