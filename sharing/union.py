"""Runs of any number of sources as one: each run once, and none that two sources tell apart.

What is held of a run is its place in an index on the disk, so that there may be any number of them.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ..analysis.columns import ENVIRONMENT_COLUMNS, IDENTIFYING, RunRow
from ..incoming import open_file
from ..measure.protocol.journal import MAX_JOURNAL_BYTES, dumps, run_at, scan
from ..records import Condition, Environment, Run
from ..report.export import RAW_FILE
from ..report.private import scrubber
from .bundle import read_bundle
from .shareable import shareable

JOURNALS = (RAW_FILE, "journal.jsonl")
MOST_WAITING = 1_000
"""So many places are told to the index at once."""

LARGEST = 2**63 - 1
"""No larger whole number is in the index."""

CACHE_KIB = 32 * 1024
"""What the index may hold of itself in memory."""

MACHINE = [name for name in ENVIRONMENT_COLUMNS if name != "power_limit_w"]
"""Runs that are equal there may be compared, those of a study also under other limits."""

ROW = (
    "id BLOB, source INT, at INT, sha BLOB, study BLOB, cell BLOB, visit, began BLOB, "
    "machine BLOB, condition BLOB"
)
TABLES = f"""
CREATE TABLE runs ({ROW}, PRIMARY KEY (id)) WITHOUT ROWID;
CREATE TABLE own ({ROW}, PRIMARY KEY (id)) WITHOUT ROWID;
CREATE TABLE cells (source INT, study BLOB, cell BLOB, UNIQUE (source, study, cell));
CREATE TABLE sources (source INT, run_count INT);
"""
"""Where the runs are, those of the source that is being read, and its cells in their order. Where
``at`` is below 0, a run is in our own file, at -1 - ``at``."""

ORDER = """
DROP TABLE IF EXISTS studies;
CREATE TABLE studies AS SELECT study, min(began) AS began FROM runs GROUP BY study;
CREATE UNIQUE INDEX study ON studies (study);
DROP TABLE IF EXISTS places;
CREATE TABLE places AS SELECT study, cell, min(place) AS place FROM (
    SELECT study, cell, row_number() OVER (ORDER BY -run_count, source, cells.rowid) AS place
    FROM cells JOIN sources USING (source)
) GROUP BY study, cell;
CREATE UNIQUE INDEX place ON places (study, cell);
DROP TABLE IF EXISTS sorted;
CREATE TABLE sorted AS SELECT source, at, machine, condition, row_number() OVER (
    ORDER BY
        iif(study = x'', runs.began, studies.began), study, iif(study = x'', 0, places.place),
        iif(study = x'', 0, visit), runs.began, id
) AS place FROM runs JOIN studies USING (study) JOIN places USING (study, cell);
CREATE UNIQUE INDEX by_place ON sorted (place);
CREATE INDEX by_machine ON sorted (machine, condition, place);
"""
"""The source that has most of a study has most of its plan's order."""


class MergeError(ValueError):
    """A source cannot be read, or two say other things of one run."""


@dataclass(frozen=True)
class Group:
    """Runs of one machine, or of one condition on it: so many are looked at together."""

    machine: bytes
    condition: bytes | None
    run_count: int


class Union:
    """A context in which sources are added, and then their runs taken out in order.

    That is the time they began. Those of a study stay together, and its cells keep their order:
    its plan says what is compared. ``tell`` gets a sentence for what is left out of a journal.
    """

    def __init__(self, tell: Callable[[str], None] = lambda text: None) -> None:
        self._tell = tell
        self._scrub = scrubber()
        self._sources: list[tuple[Path, Path]] = []
        self._known: dict[tuple[Condition, Environment], tuple[bytes, bytes]] = {}
        self._waiting: list[tuple[object, ...]] = []
        self._is_ordered = False
        self._open: tuple[int, BinaryIO] | None = None

    def __enter__(self) -> Union:
        self._folder = tempfile.TemporaryDirectory(prefix="wattbench-merge-")
        self._spool = Path(self._folder.name, "spool.jsonl").open("w+b")
        self._index = sqlite3.connect(Path(self._folder.name, "index.sqlite"), isolation_level=None)
        # It is thrown away afterwards, whatever happens.
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
            self._index.execute(f"PRAGMA {setting}")
        self._index.executescript(TABLES)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()
        self._index.close()
        self._spool.close()
        self._folder.cleanup()

    def add(self, path: Path) -> int:
        """Take the runs of a folder of results, a journal, or a bundle; how many are new here.

        A bundle is read as a whole, a journal line by line.

        Raises:
            MergeError: it is none of them, or says other things of a run than one before.
            BundleError: it is a bundle that was changed.
            IncomingError: a file cannot be read.
        """
        journal = journal_in(path) if path.is_dir() else path
        number = len(self._sources)
        self._sources.append((path, journal))
        self._is_ordered = False
        self._index.execute("DELETE FROM own")
        if journal.suffix == ".jsonl":
            self._scan(number, journal)
        else:
            for run in read_bundle(journal).runs:
                self._spooled(number, run)
        self._flush()
        self._index.execute(
            "INSERT INTO sources SELECT ?, count(*) FROM own",
            (number,),
        )
        added = self._index.execute("INSERT OR IGNORE INTO runs SELECT * FROM own").rowcount
        self._settle()
        return added

    @property
    def run_count(self) -> int:
        (count,) = self._index.execute("SELECT count(*) FROM runs").fetchone()
        return int(count)

    def has(self, run_id: str) -> bool:
        """Whether a run is there."""
        found = self._index.execute("SELECT 1 FROM runs WHERE id = ?", (_bytes(run_id),))
        return found.fetchone() is not None

    def runs(self) -> Iterator[Run]:
        """All runs, in order.

        Raises:
            MergeError: a source has changed meanwhile.
        """
        return self._read("SELECT source, at FROM sorted ORDER BY place")

    def groups(self, most: int) -> Iterator[Group]:
        """The runs of each machine; where these are more than ``most``, those of each condition."""
        self._order()
        machines = self._index.execute(
            "SELECT machine, count(*) FROM sorted GROUP BY machine ORDER BY min(place)"
        )
        for machine, count in machines:
            if count <= most:
                yield Group(machine, None, count)
                continue
            for condition, own in self._index.execute(
                "SELECT condition, count(*) FROM sorted WHERE machine = ? GROUP BY condition "
                "ORDER BY min(place)",
                (machine,),
            ):
                yield Group(machine, condition, own)

    def runs_of(self, group: Group) -> Iterator[Run]:
        """As :meth:`runs`, of a group."""
        if group.condition is None:
            return self._read(
                "SELECT source, at FROM sorted WHERE machine = ? ORDER BY place", group.machine
            )
        return self._read(
            "SELECT source, at FROM sorted WHERE machine = ? AND condition = ? ORDER BY place",
            group.machine,
            group.condition,
        )

    def _scan(self, number: int, journal: Path) -> None:
        reason, has_runs = "", False
        with open_file(journal, MAX_JOURNAL_BYTES) as file:
            for found in scan(file, self._own):
                has_runs = has_runs or bool(found.runs)
                if found.left_out:
                    reason = reason or f"line {found.line}: {found.left_out}"
                    self._tell(f"{journal}: line {found.line} is left out: {found.left_out}")
                for run in found.runs:
                    if found.at is None:
                        self._spooled(number, run)
                    else:
                        self._note(number, run, found.at, found.content)
        if reason and not has_runs:
            raise MergeError(f"{journal} holds no run that can be read: {reason}")

    def _spooled(self, number: int, run: Run) -> None:
        """A run of which the source has no line to find it by: it gets one of ours."""
        line = f"{dumps(run)}\n".encode()
        at = self._spool.seek(0, os.SEEK_END)
        self._spool.write(line)
        self._note(number, run, -1 - at, line)

    def _note(self, number: int, run: Run, at: int, line: bytes) -> None:
        """A run of the source that is being read; a later one of its id takes its place."""
        study, cell = _bytes(run.study), _bytes(run.cell)
        place = (number, at, hashlib.sha256(line.strip()).digest())
        visit = max(-LARGEST, min(run.visit, LARGEST))
        order = (study, cell, visit, _bytes(run.started_at))
        self._waiting.append((_bytes(run.run_id), *place, *order, *self._groups_of(run)))
        if len(self._waiting) >= MOST_WAITING:
            self._flush()

    def _flush(self) -> None:
        self._spool.flush()
        self._index.execute("BEGIN")
        self._index.executemany(
            "INSERT OR IGNORE INTO cells VALUES (?, ?, ?)",
            ((row[1], row[4], row[5]) for row in self._waiting),
        )
        self._index.executemany(
            "INSERT OR REPLACE INTO own VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._waiting
        )
        self._index.execute("COMMIT")
        self._waiting.clear()

    def _own(self, run_id: str) -> Run | None:
        """A run of the source that is being read."""
        self._flush()
        place = self._index.execute(
            "SELECT source, at FROM own WHERE id = ?", (_bytes(run_id),)
        ).fetchone()
        return None if place is None else self._run(*place)

    def _settle(self) -> None:
        """Of runs that were there before and are told in other words, keep the one that tells most.

        Raises:
            MergeError: they say other things.
        """
        last = b""
        while True:
            other = self._index.execute(
                "SELECT own.id, runs.source, runs.at, own.source, own.at FROM own "
                "JOIN runs USING (id) WHERE own.sha != runs.sha AND own.id > ? ORDER BY own.id "
                "LIMIT ?",
                (last, MOST_WAITING),
            ).fetchall()
            for run_id, *places in other:
                earlier, run = self._run(*places[:2]), self._run(*places[2:])
                told = shareable(run, self._scrub)
                if earlier not in (run, told) and shareable(earlier, self._scrub) != told:
                    (one, _), (two, _) = self._sources[places[0]], self._sources[places[2]]
                    raise MergeError(
                        f"{one} and {two} say other things of run {run.run_id}: one of them was "
                        "changed. Verify both, and merge without the other"
                    )
                # Of a run and its shareable form, the run itself.
                if earlier == told:
                    self._index.execute(
                        "REPLACE INTO runs SELECT * FROM own WHERE id = ?", (run_id,)
                    )
            if not other:
                return
            last = other[-1][0]

    def _order(self) -> None:
        if not self._is_ordered:
            self._index.executescript(ORDER)
            self._is_ordered = True

    def _read(self, query: str, *values: bytes) -> Iterator[Run]:
        self._order()
        try:
            for source, at in self._index.execute(query, values):
                yield self._run(source, at)
        finally:
            self._close()

    def _run(self, source: int, at: int) -> Run:
        path, journal = self._sources[source]
        try:
            return run_at(
                *((self._spool, -1 - at) if at < 0 else (self._opened(source, journal), at))
            )
        except (OSError, ValueError) as error:
            raise MergeError(f"{path} was changed while it was read: {error}") from error

    def _opened(self, source: int, journal: Path) -> BinaryIO:
        """Runs that follow each other are mostly of one source: so one file is open."""
        if self._open is None or self._open[0] != source:
            self._close()
            self._open = source, journal.open("rb")
        return self._open[1]

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _groups_of(self, run: Run) -> tuple[bytes, bytes]:
        """What stands for the machine of a run, and for its condition there."""
        key = run.condition, run.environment
        if key not in self._known:
            if len(self._known) >= MOST_WAITING:
                self._known.clear()
            row = RunRow(run)
            cells = {column.name: column.value(row) for column in IDENTIFYING}
            of_machine = {name: cells[name] for name in MACHINE}
            self._known[key] = _digest(of_machine), _digest(cells)
        return self._known[key]


def journal_in(folder: Path) -> Path:
    """The journal of a folder of results.

    Raises:
        MergeError: it has none.
    """
    for name in JOURNALS:
        if (folder / name).is_file():
            return folder / name
    raise MergeError(
        f"{folder} has neither {RAW_FILE} nor journal.jsonl: name a folder that `wattbench run` "
        "or Export CSV wrote, a journal, or a bundle"
    )


def _bytes(text: str) -> bytes:
    """Text as the index has it: in the same order, and whatever a journal holds."""
    return text.encode("utf-8", "surrogatepass")


def _digest(cells: dict[str, object]) -> bytes:
    return hashlib.sha256(_bytes(repr(sorted(cells.items())))).digest()
