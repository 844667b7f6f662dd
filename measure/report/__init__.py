"""Runs to tables: one module an output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..records import Run
from .csv import read_runs, write_csv, write_text
from .frame import runs_frame
from .markdown import Table, as_markdown, as_text, environment_lines, summary_table
from .summary import summarise

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Table",
    "append_runs",
    "as_text",
    "read_runs",
    "runs_frame",
    "summary_text",
    "table_of",
    "write_all",
    "write_frame",
]


def write_all(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write ``runs.csv``, ``summary.csv`` and ``report.md``; answer where they lie.

    Raises:
        OSError: the folder cannot be made or written.
    """
    return write_frame(runs_frame(runs), folder)


def write_frame(frame: pd.DataFrame, folder: Path, preface: Sequence[str] = ()) -> list[Path]:
    """As :func:`write_all`, for a table of runs; the report's table comes after ``preface``."""
    summary = summarise(frame)
    report = as_markdown(summary_table(summary, frame), environment_lines(frame), preface)
    write_csv(frame, folder / "runs.csv")
    write_csv(summary, folder / "summary.csv")
    write_text(report, folder / "report.md")
    return [folder / "runs.csv", folder / "summary.csv", folder / "report.md"]


def append_runs(runs: Sequence[Run], folder: Path) -> list[Path]:
    """As :func:`write_all`, adding to the runs that ``folder`` already holds, each run once.

    Raises:
        OSError: the folder cannot be made or written.
        ValueError: the ``runs.csv`` there is none of this version's; it is left alone.
    """
    import pandas as pd

    frame = runs_frame(runs)
    if (folder / "runs.csv").exists():
        frame = pd.concat([read_runs(folder / "runs.csv"), frame], ignore_index=True)
    return write_frame(frame.drop_duplicates("run_id"), folder)


def table_of(frame: pd.DataFrame) -> Table:
    """The summary of a table of runs, ready to be shown."""
    return summary_table(summarise(frame), frame)


def summary_text(runs: Sequence[Run]) -> str:
    """The summary as text for a terminal."""
    return as_text(table_of(runs_frame(runs)))
