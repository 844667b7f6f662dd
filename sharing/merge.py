"""The runs of folders and bundles as one folder of results, in bounded memory.

Merging the same again changes nothing, and a merge that was cut short is made whole by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..analysis.analysis import Analysis
from ..analysis.columns import RUN_COLUMNS, condition_name
from ..analysis.runs_table import runs_frame
from ..analysis.steps import STEP_COLUMNS
from ..analysis.summary import SUMMARY_COLUMNS
from ..errors import UsageError
from ..incoming import read_file
from ..measure.protocol.journal import MAX_JOURNAL_BYTES, dumps, read
from ..records import Run
from ..report.csv import run_ids
from ..report.export import RAW_FILE, append_runs, locked
from ..report.markdown import environment_lines
from ..tables.csv import csv_text, frame_text
from ..tables.files import newest, writing
from ..tables.markdown import bullets
from .bundle import read_bundle
from .union import MergeError, Union, journal_in

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_TOGETHER", "MergeError", "Merged", "merge", "runs_of", "write_apart"]

MOST_TOGETHER = 20_000
"""So many runs are in memory at once, and in one table that compares all of them."""

CUT_SHORT = ".merging"
"""Lies in the folder while its files are replaced."""

NAMES = RUNS, SUMMARY, STEPS, REPORT = "runs.csv", "summary.csv", "steps.csv", "report.md"
ALONE = "not compared: its machine has too many runs"


@dataclass(frozen=True)
class Merged:
    """What came of a merge; ``paths`` are the files that were written, none where none is new."""

    run_count: int
    new_count: int
    paths: tuple[Path, ...] = ()


def runs_of(path: Path) -> tuple[Run, ...]:
    """The runs of a folder of results, a journal, or a bundle, all of them in memory.

    Raises:
        MergeError: it is none of them.
        BundleError: it is a bundle that was changed.
        IncomingError: a file cannot be read.
    """
    journal = journal_in(path) if path.is_dir() else path
    if journal.suffix != ".jsonl":
        return read_bundle(path).runs
    contents = read(read_file(journal, MAX_JOURNAL_BYTES))
    if contents.left_out and not contents.runs:
        line, reason = contents.left_out[0]
        raise MergeError(f"{journal} holds no run that can be read: line {line}: {reason}")
    return contents.runs


def merge(
    sources: Sequence[Path], folder: Path, tell: Callable[[str], None] = lambda text: None
) -> Merged:
    """Add the runs of all sources to those of a folder, each run once.

    Up to :data:`MOST_TOGETHER` runs are written as any other results; more by :func:`write_apart`.

    Raises:
        MergeError: a source cannot be read, or two say other things of one run.
        BundleError, IncomingError: see :meth:`.union.Union.add`.
        UsageError: the folder's ``runs.csv`` has runs of which nobody has the raw samples.
        OSError: the folder cannot be made or written.
    """
    with Union(tell) as union:
        if (folder / RAW_FILE).is_file():
            union.add(folder)
        known_count = union.run_count
        changed = sum([union.add(path) for path in sources])
        run_count = union.run_count
        was_cut_short = (folder / CUT_SHORT).exists()
        if not changed and not was_cut_short:
            return Merged(run_count, 0)
        if run_count > MOST_TOGETHER:
            _check_nothing_lost(union, folder)
        if was_cut_short:
            _clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CUT_SHORT).touch()
        if run_count <= MOST_TOGETHER:
            paths = append_runs(list(union.runs()), folder)
        else:
            paths = write_apart(union, folder, tell, with_raw=True)
        (folder / CUT_SHORT).unlink()
        return Merged(run_count, run_count - known_count, tuple(paths))


def _check_nothing_lost(union: Union, folder: Path) -> None:
    lost = sum(not union.has(run_id) for run_id in run_ids(newest(folder / RUNS)))
    if lost:
        raise UsageError(
            f"{folder} holds {lost} runs whose raw samples are not there and that would be lost: "
            "name another folder"
        )


def _clear(folder: Path) -> None:
    """Take away what a merge had begun to write when it was cut short."""
    with locked(folder):
        for name in (*NAMES, RAW_FILE):
            for part in folder.glob(f".{name}.{'[0-9a-f]' * 32}"):
                part.unlink()


def write_apart(
    union: Union, folder: Path, tell: Callable[[str], None], *, with_raw: bool
) -> list[Path]:
    """The tables of any number of runs, machine after machine; returns where they lie.

    Rows are those of :func:`..report.write_analysis`, except that each machine has baselines of its
    own. All files are replaced once they are whole, the raw runs last.

    Raises:
        MergeError: a source has changed meanwhile.
        OSError: the folder cannot be made or written.
    """
    with locked(folder), ExitStack() as stack:
        raw = stack.enter_context(writing(folder / RAW_FILE)) if with_raw else None
        files = {name: stack.enter_context(writing(folder / name)) for name in NAMES}
        for name, columns in (
            (RUNS, RUN_COLUMNS),
            (SUMMARY, SUMMARY_COLUMNS),
            (STEPS, STEP_COLUMNS),
        ):
            files[name].write(csv_text([columns]).encode())
        tables = _Tables(files, raw)
        for group in union.groups(MOST_TOGETHER):
            if group.run_count <= MOST_TOGETHER:
                tables.add(union.runs_of(group), is_compared=group.condition is None)
            else:
                tell(tables.add_rows(union.runs_of(group), group.run_count))
        files[REPORT].write(tables.report().encode())
    return [*(folder / name for name in NAMES), *([folder / RAW_FILE] if with_raw else [])]


@dataclass
class _Tables:
    """The tables as they grow; what has been added is not held."""

    files: dict[str, BinaryIO]
    raw: BinaryIO | None
    run_count: int = 0
    condition_count: int = 0
    machines: dict[str, None] = field(default_factory=dict)

    def add(self, runs: Iterator[Run], is_compared: bool) -> None:
        """Runs of one machine, or of one condition that is not compared with any."""
        analysis = Analysis.of(list(runs))
        summary = analysis.summary
        self._write(RUNS, analysis.frame)
        self._write(STEPS, analysis.steps)
        self._write(SUMMARY, summary if is_compared else summary.assign(comparison_note=ALONE))
        self._count(analysis.runs, analysis.frame)
        self.condition_count += len(summary)

    def add_rows(self, runs: Iterator[Run], count: int) -> str:
        """Runs of one condition that are too many to be averaged; what is to be said of them."""
        name = ""
        while found := self._add_some(list(islice(runs, MOST_TOGETHER))):
            name = found
        return (
            f"{name}: {count} runs of one condition on one machine are more than {MOST_TOGETHER}: "
            f"they are in {RUNS}, without energies pooled over repeats, and have no row in "
            f"{SUMMARY}"
        )

    def _add_some(self, runs: list[Run]) -> str:
        if not runs:
            return ""
        frame = runs_frame(runs, [None] * len(runs))
        self._write(RUNS, frame)
        self._count(runs, frame)
        return condition_name(frame.iloc[0])

    def _count(self, runs: Sequence[Run], frame: pd.DataFrame) -> None:
        if self.raw is not None:
            self.raw.writelines(f"{dumps(run)}\n".encode() for run in runs)
        self.run_count += len(frame)
        self.machines.update(dict.fromkeys(environment_lines(frame)))

    def _write(self, name: str, frame: pd.DataFrame) -> None:
        _, _, rows = frame_text(frame).partition("\n")
        self.files[name].write(rows.encode())

    def report(self) -> str:
        lines = [
            "# WattBench report",
            "",
            f"{self.run_count} runs, {self.condition_count} conditions: too many for a page. "
            f"{SUMMARY} has a row for each condition, {RUNS} for each run, {STEPS} for each step. "
            "Ratios are to a baseline of the same machine.",
            "",
            "## Environment",
            "",
            *bullets(list(self.machines)),
        ]
        return "\n".join(lines) + "\n"
