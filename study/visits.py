"""The journal of a matrix: a line for its plan and a line for each visit, on the disk at once.

A visit exists where its line is whole. A line that a crash has cut short is taken away, and its
visit is made again; so each visit exists once.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CommandError, UsageError
from ..incoming import IncomingError, read_file
from ..measure.protocol import journal
from ..records import Run

JOURNAL = "matrix.jsonl"
VERSION = 1


class UnwritableError(CommandError):
    """The journal cannot be written: nothing that is measured from here on would be kept."""


@dataclass(frozen=True)
class Visited:
    """One visit of a cell: what it measured, or in ``error`` why it did not.

    ``s_per_img`` and ``j_per_img`` are geometric means over its prompts after the warm-ups, each as
    a whole, or over its runs that count where the workflow measures itself; ``None`` where one has
    none.
    """

    cell: str
    block: int
    began_at: str
    duration_s: float
    s_per_img: float | None = None
    j_per_img: float | None = None
    error: str = ""
    runs: tuple[Run, ...] = field(default=(), repr=False)


@dataclass
class Visits:
    """The journal at ``path``: ``header`` is what was planned and where, by name."""

    path: Path
    header: dict[str, Any] = field(default_factory=dict)
    made: list[Visited] = field(default_factory=list)

    def begin(self, header: Mapping[str, Any]) -> None:
        """Write the first line.

        Raises:
            UnwritableError: it cannot be written.
        """
        self.header = json.loads(json.dumps(header))
        self._write({"version": VERSION, "header": self.header})
        _sync_folder(self.path.parent)

    def add(self, visit: Visited) -> None:
        """Write a visit, and wait until it is on the disk.

        Raises:
            UnwritableError: it cannot be written.
        """
        runs = [json.loads(journal.dumps(run)) for run in visit.runs]
        self._write({**vars(visit), "runs": runs})
        self.made.append(visit)

    def done(self, block: int) -> dict[str, Visited]:
        """The visits of a block by their cell."""
        return {visit.cell: visit for visit in self.made if visit.block == block}

    def _write(self, data: Mapping[str, Any]) -> None:
        line = journal.sealed(json.dumps(data, allow_nan=False, separators=(",", ":")))
        try:
            with self.path.open("ab") as file:
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UnwritableError(
                f"{self.path} cannot be written: {error.strerror}. What was measured before is in "
                "it; make room, then go on with --resume"
            ) from error


def read_visits(path: Path) -> Visits:
    """The journal of a matrix; without a header where nothing was begun yet.

    An end that was cut short is taken off the file. A damaged visit is left out and told: it is
    made again.

    Raises:
        UsageError: it holds something else.
    """
    found = Visits(path)
    if not path.exists():
        return found
    try:
        data = read_file(path, journal.MAX_JOURNAL_BYTES)
    except IncomingError as error:
        raise UsageError(f"{error}. Name another folder") from error
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].split(b"\n")[:-1]
    if lines and not lines[-1].endswith(b"}"):
        whole -= len(lines.pop()) + 1
    for number, line in enumerate(lines, 1):
        try:
            _take(found, journal.checked(line.decode("utf-8", "surrogateescape")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if not found.header:
                raise UsageError(
                    f"{path}, line {number} is damaged: {error}. Name another folder"
                ) from error
            told = "%s, line %d is left out (%s): its visit will be made again"
            logging.getLogger(__name__).warning(told, path, number, error)
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
    return found


def _take(found: Visits, data: dict[str, Any]) -> None:
    """Add what a line says.

    Raises:
        ValueError: it is of a later version, or says nothing of a matrix.
    """
    data.pop("crc32", None)
    if "header" in data:
        if data["version"] != VERSION:
            raise ValueError(f"it has version {data['version']}, this WattBench reads {VERSION}")
        found.header = data["header"]
        return
    if not found.header:
        raise ValueError("it is no journal of `wattbench matrix`")
    runs = journal.parse("\n".join(json.dumps(run, separators=(",", ":")) for run in data["runs"]))
    if len(runs) < len(data["runs"]):
        raise ValueError("a run in it is damaged")
    found.made.append(Visited(**{**data, "runs": tuple(runs)}))


def _sync_folder(folder: Path) -> None:
    """A file is not lost by a failure of power only once its folder's entry is on the disk, too."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
