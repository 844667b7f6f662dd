"""A folder of results: ``runs.csv``, ``summary.csv``, ``steps.csv``, ``report.md``, ``runs.jsonl``.

Several processes may add to one folder. An addition reads and writes the tables once, and pools
anew only the conditions that it adds to; raw runs are appended.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.analysis import Analysis
from ..analysis.columns import IDENTIFYING
from ..analysis.runs_table import DTYPES, runs_frame
from ..analysis.steps import STEP_COLUMNS
from ..errors import UsageError
from ..incoming import open_file
from ..measure.protocol.journal import MAX_JOURNAL_BYTES, dumps, parse
from ..processes.signals import held
from ..records import Run
from ..tables.csv import read_frame, write_frame
from ..tables.files import newest, write_text
from .csv import read_runs
from .markdown import as_markdown

if TYPE_CHECKING:
    import pandas as pd

RAW_FILE = "runs.jsonl"
"""Beside an exported ``runs.csv``: its runs with their raw samples, as in the journal."""

LOCK_FILE, LOCK_TIMEOUT_S = ".runs.lock", 600.0
"""Held while runs are added: a second or so, and longer on a machine that is starved."""

BATCH_LOCK_FILE = ".batch.lock"

RUN_ID = re.compile(r'"run_id":"((?:[^"\\]|\\.)*)"')


@contextlib.contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Keep other batches out of a folder of results while one measures into it.

    Raises:
        UsageError: another one does already, or its ``runs.csv`` is nothing that can be added to:
            better before anything is measured than after.
        OSError: the folder cannot be made or written.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / BATCH_LOCK_FILE, timeout=0):
            _check_table(newest(folder / "runs.csv"))
            yield
    except Timeout as error:
        raise UsageError(
            f"another batch is measuring into {folder}, and each would spoil what the other "
            "measures: wait until it has ended, or name another folder"
        ) from error


def check_unused(folder: Path) -> None:
    """Raise UsageError where results lie that those of another study would replace."""
    there = [name for name in ("runs.csv", "verdict.json") if (folder / name).exists()]
    if there:
        raise UsageError(
            f"{folder} holds results already ({', '.join(there)}), and these would take their "
            "place: name another folder"
        )


@held()
def write_table(analysis: Analysis, folder: Path) -> list[Path]:
    """:func:`write_analysis` of a table without raw samples, where that loses nothing.

    Raises:
        UsageError: ``folder`` has runs that are not in the table, or steps of other runs.
        OSError: the folder cannot be made or written.
        ValueError: the ``runs.csv`` there is none of this version's; it is left alone.
    """
    with locked(folder):
        there = _read_table(newest(folder / "runs.csv"))
        known = set() if there is None else set(there["run_id"])
        lost = len(known - set(analysis.frame["run_id"]))
        if lost:
            raise UsageError(
                f"{folder} holds {lost} runs that are not among these and would be lost: name "
                "another folder, or the journal that these came from, whose runs are added"
            )
        if (folder / "steps.csv").exists() and known != set(analysis.frame["run_id"]):
            raise UsageError(
                f"the steps.csv in {folder} is of other runs, and a runs.csv tells no steps: name "
                "another folder, or the journal that these came from"
            )
        return write_analysis(analysis, folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and be the only one that adds to its tables."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK_FILE, timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout as error:
        raise OSError(
            f"another program has been writing into {folder} for {LOCK_TIMEOUT_S:g} s; end it, or "
            "choose another folder"
        ) from error


@held()
def write_analysis(
    analysis: Analysis,
    folder: Path,
    preface: Sequence[str] = (),
    steps: pd.DataFrame | None = None,
) -> list[Path]:
    """Write the tables and ``report.md`` in place of those in ``folder``; returns where they lie.

    ``preface`` are lines of the report that come before its tables, ``steps`` another table of
    steps than the analysis' own. Without raw samples the ``steps.csv`` there stays. Signals wait
    until all are written.

    Raises:
        OSError: the folder cannot be made or written.
    """
    paths = [
        write_frame(analysis.frame, folder / "runs.csv"),
        write_frame(analysis.summary, folder / "summary.csv"),
        write_text(as_markdown(analysis, preface), folder / "report.md"),
    ]
    steps = analysis.steps if steps is None else steps
    if len(steps):
        return [*paths, write_frame(steps, folder / "steps.csv")]
    if analysis.runs:
        (folder / "steps.csv").unlink(missing_ok=True)
    return paths


@held()
def append_runs(runs: Sequence[Run], folder: Path, preface: Sequence[str] = ()) -> list[Path]:
    """Add runs to those that ``folder`` already holds, each run once; as :func:`write_analysis`.

    The raw runs lie beside the table in ``runs.jsonl``, so that phases are pooled over all of them
    and not only over those of one call. Signals wait until all is written.

    Raises:
        OSError: the folder cannot be made or written.
        ValueError: the ``runs.csv`` there is none of this version's; it is left alone.
    """
    with locked(folder):
        return _append_runs(runs, folder, preface)


def _append_runs(runs: Sequence[Run], folder: Path, preface: Sequence[str]) -> list[Path]:
    given = {run.run_id: run for run in runs}
    table, wanted = _read_table(newest(folder / "runs.csv")), set(given)
    if table is not None:
        same_condition = _identities(table).isin(_identities(runs_frame(list(given.values()))))
        wanted |= set(table.loc[same_condition, "run_id"])
    earlier = {run.run_id: run for run in _read_raw(folder / RAW_FILE, wanted)}
    _append_raw(
        [run for run_id, run in given.items() if earlier.get(run_id) != run], folder / RAW_FILE
    )
    pooled = Analysis.of(list({**earlier, **given}.values()))
    if table is None:
        return write_analysis(pooled, folder, preface)
    analysis = Analysis(_joined(table, pooled.frame))
    steps = _joined_steps(newest(folder / "steps.csv"), pooled, analysis.frame)
    return write_analysis(analysis, folder, preface, steps)


def _joined(table: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    """The rows of both, in the table's order; those of ``fresh`` count."""
    import pandas as pd

    kept = table[~table["run_id"].isin(fresh["run_id"])]
    order = {run_id: n for n, run_id in enumerate([*table["run_id"], *fresh["run_id"]][::-1])}
    both = pd.concat([kept, fresh], ignore_index=True)
    places = both["run_id"].map(order).argsort(kind="stable")[::-1]
    return both.iloc[places].reset_index(drop=True)


def _joined_steps(path: Path, pooled: Analysis, table: pd.DataFrame) -> pd.DataFrame:
    """The steps of what was pooled anew and, of other conditions, those of the file at ``path``."""
    import pandas as pd

    if not path.exists():
        return pooled.steps
    dtypes = {c.name: str if c.type == "text" else DTYPES[c.type] for c in IDENTIFYING}
    written = read_frame(path, dtypes)
    if list(written) != STEP_COLUMNS:
        return pooled.steps
    texts = [name for name, dtype in dtypes.items() if dtype is str]
    written[texts] = written[texts].fillna("")
    kept = written[~_identities(written).isin(_identities(pooled.frame))]
    both = pd.concat([part for part in (kept, pooled.steps) if len(part)] or [kept])
    order = {identity: n for n, identity in enumerate(_identities(table).drop_duplicates())}
    places = _identities(both).map(order).reset_index(drop=True).argsort(kind="stable")
    return both.iloc[places].reset_index(drop=True)


def _identities(frame: pd.DataFrame) -> pd.Series:
    """A number for each row, the same where condition and environment are."""
    import pandas as pd

    dtypes = {c.name: "object" if c.type == "text" else DTYPES[c.type] for c in IDENTIFYING}
    columns = frame[list(dtypes)].astype(dtypes).astype(str)
    return pd.util.hash_pandas_object(columns, index=False)


def _append_raw(runs: Iterable[Run], path: Path) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write("".join(f"{dumps(run)}\n" for run in runs))


def _check_table(path: Path) -> None:
    """Raise UsageError where :func:`_read_table` would refuse."""
    try:
        _read_table(path)
    except ValueError as error:
        raise UsageError(str(error)) from error


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


def _read_raw(path: Path, wanted: set[str]) -> list[Run]:
    """Those runs of a ``runs.jsonl`` that are wanted; none where there is no such file.

    Raises:
        ValueError: it holds something else.
    """
    if not path.exists() or not wanted:
        return []
    try:
        with open_file(path, MAX_JOURNAL_BYTES) as file:
            texts = (line.decode("utf-8", "surrogateescape") for line in file)
            lines = [line for line in texts if _is_wanted(line, wanted)]
        return [run for run in parse("".join(lines)) if run.run_id in wanted]
    except ValueError as error:
        raise ValueError(f"{path} cannot be added to: {error}. Choose another folder.") from error


def _is_wanted(line: str, wanted: set[str]) -> bool:
    """Whether a line has to be read: only a part of it tells, and reading a run takes long."""
    found = RUN_ID.search(line)
    return found is None or json.loads(f'"{found[1]}"') in wanted
