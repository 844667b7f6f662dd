"""An analysis shown: one module an output. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ..analysis.runs_table import runs_frame
    from ..records import Run
    from ..tables.table import Table
    from .csv import read_runs
    from .export import append_runs, check_unused, reserved, write_analysis, write_table
    from .text import analysis_text

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

MODULES = {
    "analysis_text": ".text",
    "append_runs": ".export",
    "check_unused": ".export",
    "read_runs": ".csv",
    "reserved": ".export",
    "runs_frame": "..analysis.runs_table",
    "write_analysis": ".export",
    "write_table": ".export",
}


def __getattr__(name: str) -> Any:
    """Imported when asked for: ComfyUI's start needs nothing of it."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODULES[name], __name__), name)


def write_all(runs: Sequence[Run], folder: Path) -> list[Path]:
    """:func:`.export.write_analysis` of runs."""
    from ..analysis.analysis import Analysis
    from .export import write_analysis

    return write_analysis(Analysis.of(runs), folder)


def summary_text(runs: Sequence[Run]) -> str:
    """:func:`.text.analysis_text` of runs."""
    from ..analysis.analysis import Analysis
    from .text import analysis_text

    return analysis_text(Analysis.of(runs))


def table_of(frame: pd.DataFrame) -> Table:
    """The summary of a table of runs, ready to be shown."""
    from ..analysis.analysis import Analysis
    from .summary import summary_table

    return summary_table(Analysis(frame))
