"""Runs to tables: one module an output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.runs_table import runs_frame
from ..analysis.summary import summarise
from ..measure.protocol.journal import dumps, parse
from ..records import Run
from .csv import read_runs, write_csv, write_text
from .markdown import Table, as_markdown, as_text, environment_lines, summary_table
from .phases import phase_table, steps_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Table",
    "append_runs",
    "as_text",
    "frame_text",
    "read_runs",
    "runs_frame",
    "summary_text",
    "table_of",
    "write_all",
    "write_frame",
]

RAW_FILE = "runs.jsonl"
"""Beside an exported ``runs.csv``: its runs with their raw samples, as in the journal."""

LOCK_FILE, LOCK_TIMEOUT_S = ".runs.lock", 60.0
"""Held while runs are added, which takes a second or so."""


def write_all(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write ``runs.csv``, ``summary.csv`` and ``report.md``; answer where they lie.

    ``steps.csv`` too, where steps have energy.

    Raises:
        OSError: the folder cannot be made or written.
    """
    return [*write_frame(runs_frame(runs), folder), *_write_steps(runs, folder)]


def write_frame(frame: pd.DataFrame, folder: Path, preface: Sequence[str] = ()) -> list[Path]:
    """As :func:`write_all`, for a table of runs, which knows nothing of steps.

    ``preface`` are lines of the report that come before its table.
    """
    summary = summarise(frame)
    table, phases = summary_table(summary, frame), phase_table(summary)
    report = as_markdown(table, phases, environment_lines(frame), preface)
    write_csv(frame, folder / "runs.csv")
    write_csv(summary, folder / "summary.csv")
    write_text(report, folder / "report.md")
    return [folder / "runs.csv", folder / "summary.csv", folder / "report.md"]


def append_runs(runs: Sequence[Run], folder: Path) -> list[Path]:
    """As :func:`write_all`, adding to the runs that ``folder`` already holds, each run once.

    The raw runs lie beside the table in ``runs.jsonl``, so that phases are pooled over all of them
    and not only over those of one call. Several processes may add to one folder.

    Raises:
        OSError: the folder cannot be made or written.
        ValueError: the ``runs.csv`` there is none of this version's; it is left alone.
    """
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK_FILE, timeout=LOCK_TIMEOUT_S):
        return _append_runs(runs, folder)


def _append_runs(runs: Sequence[Run], folder: Path) -> list[Path]:
    import pandas as pd

    table = _read_table(folder / "runs.csv")
    kept = set() if table is None else set(table["run_id"])
    earlier = [run for run in _read_raw(folder / RAW_FILE) if run.run_id in kept]
    every = list({run.run_id: run for run in (*earlier, *runs)}.values())
    frame = runs_frame(every)
    if table is not None:
        without_raw = table[~table["run_id"].isin(frame["run_id"])]
        frame = pd.concat([without_raw, frame], ignore_index=True)
    paths = [*write_frame(frame, folder), *_write_steps(every, folder)]
    write_text("".join(f"{dumps(run)}\n" for run in every), folder / RAW_FILE)
    return paths


def _write_steps(runs: Sequence[Run], folder: Path) -> list[Path]:
    frame, path = steps_frame(runs), folder / "steps.csv"
    if frame.empty:
        path.unlink(missing_ok=True)
        return []
    write_csv(frame, path)
    return [path]


def _read_table(path: Path) -> pd.DataFrame | None:
    """A ``runs.csv``; ``None`` where there is no such file.

    Raises:
        ValueError: it is something else.
    """
    if not path.exists():
        return None
    try:
        return read_runs(path)
    except ValueError as error:
        raise ValueError(f"{error}. Choose another folder, or move that file.") from error


def _read_raw(path: Path) -> list[Run]:
    """The runs of a ``runs.jsonl``; none where there is no such file.

    Raises:
        ValueError: it holds something else.
    """
    if not path.exists():
        return []
    try:
        return parse(path.read_bytes().decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be added to: {error}. Choose another folder.") from error


def table_of(frame: pd.DataFrame) -> Table:
    """The summary of a table of runs, ready to be shown."""
    return summary_table(summarise(frame), frame)


def summary_text(runs: Sequence[Run]) -> str:
    """The summary as text for a terminal."""
    return frame_text(runs_frame(runs))


def frame_text(frame: pd.DataFrame) -> str:
    """As :func:`summary_text`, for a table of runs."""
    summary = summarise(frame)
    phases = phase_table(summary)
    text = as_text(summary_table(summary, frame))
    return f"{text}\n\n{as_text(phases)}" if phases.rows else text
