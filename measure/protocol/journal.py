"""The journal: every measured run as one JSON line, written as soon as the run has ended."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...records import SCHEMA_VERSION, Run, with_idle_after
from .codec import dumps, run_of

__all__ = ["IDLE_AFTER", "Journal", "dumps", "parse"]

LINE_START = '{"schema_version":'
"""Every line begins so."""

IDLE_AFTER = "idle_after"
"""The kind of a line that is no run: idle power that was measured after runs above it."""


class Journal:
    """An append-only file of runs. Several processes may write to it.

    Raises:
        OSError: on making it, where the file cannot be written: better before a run than after.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass

    def append(self, run: Run) -> None:
        """Write ``run`` and wait until it is on the disk: a crash afterwards does not lose it.

        Raises:
            OSError: it cannot be written, because the disk is full for one.
        """
        self._append_line(dumps(run))

    def append_idle_after(self, runs: Iterable[Run], idle_power_after_w: float) -> None:
        """Add to runs already written the idle power (W) measured after them.

        Raises:
            OSError: as for :meth:`append`.
        """
        record = {
            "schema_version": SCHEMA_VERSION,
            "kind": IDLE_AFTER,
            "run_ids": [run.run_id for run in runs],
            "idle_power_after_w": idle_power_after_w,
        }
        self._append_line(json.dumps(record, allow_nan=False, separators=(",", ":")))

    def _append_line(self, line: str) -> None:
        try:
            with self.path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    was_cut_short = file.read(1) != b"\n"
                    line = f"\n{line}" if was_cut_short else line
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(
                f"the journal {self.path} cannot be written: {error.strerror}. What was measured "
                "before is in it; make room or give it the rights to write, then run again"
            ) from error


def parse(text: str) -> list[Run]:
    """The runs of a journal of this schema version or an earlier one, with what came later.

    Lines that a crash or a full disk has cut short are left out, with a warning.

    Raises:
        ValueError: a line that is no run, or of a later schema version; it is named by its number.
    """
    runs: dict[str, Run] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            for run in _parse_line(number, line, runs):
                runs[run.run_id] = run
    return list(runs.values())


def _parse_line(number: int, line: str, earlier: Mapping[str, Run]) -> list[Run]:
    """The runs that a line adds or changes."""
    try:
        data = json.loads(line)
        version = data.pop("schema_version")
        if version not in range(1, SCHEMA_VERSION + 1):
            raise ValueError(
                f"it has schema version {version}, this WattBench reads up to {SCHEMA_VERSION}"
            )
        if data.get("kind") == IDLE_AFTER:
            known = [earlier[run_id] for run_id in data["run_ids"] if run_id in earlier]
            return [with_idle_after(run, data["idle_power_after_w"]) for run in known]
        return [run_of(data, version)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        begins_well = line[: len(LINE_START)] == LINE_START[: len(line)]
        if isinstance(error, json.JSONDecodeError) and begins_well:
            logging.getLogger(__name__).warning("journal line %d is left out: cut short", number)
            return []
        raise ValueError(f"journal line {number} is not a WattBench run: {error}") from error
