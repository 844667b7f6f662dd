"""The journal: every measured run as one JSON line, written as soon as the run has ended.

Each line ends with a checksum of itself. A file is read line by line: what is damaged is left out
with its reason, and all else is kept (:func:`read`).
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ...records import SCHEMA_VERSION, Run
from . import codec

__all__ = [
    "IDLE_AFTER",
    "QUALITY",
    "Contents",
    "Found",
    "Journal",
    "Remark",
    "checked",
    "dumps",
    "parse",
    "read",
    "read_from",
    "run_at",
    "scan",
    "sealed",
    "with_idle_after",
]

MAX_JOURNAL_BYTES = 8 * 2**30
"""No larger file is taken for a journal."""

LINE_START = '{"schema_version":'
"""Every record begins so."""

IDLE_AFTER = "idle_after"
"""The kind of a record that is no run: idle power that was measured after runs above it."""

QUALITY = "quality"
"""The kind of a record that is no run: what the pictures of a run above it are like."""

CHECKSUM = re.compile(r',"crc32":"([0-9a-f]{8})"}')
"""How a record ends; those of earlier versions end without."""

CHECKSUM_LENGTH = len(',"crc32":"01234567"}')

PADDING = " \t\r\n\x00\ufeff"
"""What may stand around a record: a crash leaves NULs, editors leave a byte order mark."""

CUT_SHORT = "cut short"

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""How some Windows programs begin a file that they have saved."""


class Remark(NamedTuple):
    """What was found in a line; they count from 1."""

    line: int
    text: str


@dataclass(frozen=True)
class Contents:
    """What a journal holds: its runs, what of it cannot be read, and what was passed over."""

    runs: tuple[Run, ...]
    line_count: int
    left_out: tuple[Remark, ...] = ()
    notes: tuple[Remark, ...] = ()


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
        self._append_line(sealed(json.dumps(record, allow_nan=False, separators=(",", ":"))))

    def append_quality(self, run: Run) -> None:
        """Add to a run already written what its pictures are like, in place of what was known.

        Raises:
            OSError: as for :meth:`append`.
        """
        record = {
            "schema_version": SCHEMA_VERSION,
            "kind": QUALITY,
            "run_id": run.run_id,
            "quality": [asdict(one) for one in run.quality],
        }
        self._append_line(sealed(json.dumps(record, allow_nan=False, separators=(",", ":"))))

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


def dumps(run: Run) -> str:
    """One line of the journal."""
    return sealed(codec.dumps(run))


def read(data: bytes) -> Contents:
    """All that can be read of a journal of this schema version or an earlier one.

    Never refuses: a line that is damaged, foreign, cut short or of a later version is left out and
    told with its reason. Whole records within such a line are kept.
    """
    return read_from(io.BytesIO(data))


def read_from(file: BinaryIO) -> Contents:
    """As :func:`read`, of a file from its beginning on, line by line."""
    runs: dict[str, Run] = {}
    left_out: list[Remark] = []
    notes: list[Remark] = []
    number = 0
    for found in scan(file, runs.get):
        number = found.line
        runs.update((run.run_id, run) for run in found.runs)
        if found.left_out:
            left_out.append(Remark(number, found.left_out))
        if found.note:
            notes.append(Remark(number, found.note))
    return Contents(tuple(runs.values()), number, tuple(left_out), tuple(notes))


def with_idle_after(run: Run, idle_power_after_w: float) -> Run:
    """The run with the idle power that was measured after its experiment, and the mean of both."""
    known = [w for w in (run.idle_power_before_w, idle_power_after_w) if w is not None]
    return replace(run, idle_power_after_w=idle_power_after_w, idle_power_w=sum(known) / len(known))


class Found(NamedTuple):
    """What a record adds to a journal, or a blank line that adds nothing; lines count from 1.

    ``runs`` are new, or take the place of earlier ones of their ids. ``left_out`` says why a record
    cannot be read, ``note`` what of it was passed over. ``at`` is the byte where the line begins
    of which the one run is all, so that :func:`run_at` finds it again; else ``None``.
    """

    line: int
    runs: tuple[Run, ...] = ()
    left_out: str = ""
    note: str = ""
    at: int | None = None
    content: bytes = b""


def scan(file: BinaryIO, earlier: Callable[[str], Run | None]) -> Iterator[Found]:
    """The records of a file from its beginning on, one at a time; nothing is held.

    ``earlier`` gives the run of an id that was found so far, which records may change.
    """
    start = file.read(2)
    file.seek(0)
    is_wide = start in UTF16_MARKS
    at = 0
    for number, line in enumerate(_lines_of_utf16(file) if is_wide else file, 1):
        # A byte that is no UTF-8 stands for itself: so the checksum is that of what was read.
        text = line.decode("utf-8", "surrogateescape").strip(PADDING)
        records = list(_records(text)) if text else []
        is_whole = len(records) == 1 and not is_wide
        for record in records:
            try:
                found, unknown, is_own = _read_record(record, earlier)
            except ValueError as error:
                yield Found(number, left_out=str(error))
                continue
            note = f"fields passed over: {', '.join(unknown)}" if unknown else ""
            own = at if is_whole and is_own else None
            yield Found(number, tuple(found), "", note, own, line if own is not None else b"")
        if not records:
            yield Found(number)
        at += len(line)


def run_at(file: BinaryIO, at: int) -> Run:
    """The run of which :func:`scan` has said that its line begins at this byte.

    Raises:
        ValueError: it is no longer there.
    """
    file.seek(at)
    text = file.readline().decode("utf-8", "surrogateescape").strip(PADDING)
    found, _, is_own = _read_record(text, lambda run_id: None)
    if not is_own:
        raise ValueError("it is no run")
    return found[0]


def _lines_of_utf16(file: BinaryIO) -> Iterator[bytes]:
    text = io.TextIOWrapper(file, "utf-16", "replace", newline="\n")
    try:
        for line in text:
            yield line.encode("utf-8", "replace")
    finally:
        text.detach()


def parse(text: str) -> list[Run]:
    """The runs of a journal, as :func:`read` finds them; what is left out is logged.

    Raises:
        ValueError: nothing in it can be read; the first line's reason is told.
    """
    contents = read(text.encode("utf-8", "surrogateescape"))
    broken = contents.left_out
    if broken and not contents.runs and not all(text == CUT_SHORT for _, text in broken):
        line, reason = broken[0]
        raise ValueError(f"journal line {line} is not a WattBench run: {reason}")
    for line, reason in broken:
        logging.getLogger(__name__).warning("journal line %d is left out: %s", line, reason)
    return list(contents.runs)


def sealed(record: str) -> str:
    """The record with a checksum of all that comes before it."""
    return f'{record[:-1]},"crc32":"{_checksum(record[:-1])}"}}'


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', 'surrogateescape')):08x}"


def _records(line: str) -> Iterator[str]:
    """The records of a line: itself, or what begins like one where something has joined several."""
    if line.startswith(LINE_START) and line.find(LINE_START, 1) < 0:
        yield line
        return
    starts = [match.start() for match in re.finditer(re.escape(LINE_START), line)]
    if starts[:1] != [0]:
        starts.insert(0, 0)
    for start, end in zip(starts, [*starts[1:], len(line)], strict=True):
        record = line[start:end].strip(PADDING)
        if record:
            yield record


def _read_record(
    record: str, earlier: Callable[[str], Run | None]
) -> tuple[list[Run], list[str], bool]:
    """The runs that a record adds or changes, its fields that are not known here, whether it adds.

    Raises:
        ValueError: it is no whole record of a known version.
    """
    data = checked(record)
    version = data.pop("schema_version", None)
    data.pop("crc32", None)
    if not isinstance(version, int) or version < 1:
        raise ValueError("no WattBench record: it has no schema_version")
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"it has schema version {version}, this WattBench reads up to {SCHEMA_VERSION}"
        )
    if data.get("kind") == IDLE_AFTER:
        told, run_ids = data.get("idle_power_after_w"), data.get("run_ids")
        if told is None or not isinstance(run_ids, list):
            raise ValueError("it tells no idle power of runs")
        power_w = codec.number(told)
        known = [run for run in map(earlier, map(str, run_ids)) if run is not None]
        return [with_idle_after(run, power_w) for run in known], [], False
    if data.get("kind") == QUALITY:
        quality = codec.qualities_of(data.get("quality"))
        measured = earlier(str(data.get("run_id")))
        return [] if measured is None else [replace(measured, quality=quality)], [], False
    run, unknown = codec.run_of(data, version)
    return [run], unknown, True


def checked(record: str) -> dict[str, Any]:
    """The data of a record whose checksum, if it has one, is right.

    Raises:
        ValueError: with the reason; it quotes nothing of the record.
    """
    seal = CHECKSUM.fullmatch(record, len(record) - CHECKSUM_LENGTH)
    if seal is not None and seal[1] != _checksum(record[: seal.start()]):
        raise ValueError("damaged: its checksum is not that of its bytes")
    try:
        data = DECODER.decode(record)
    except RecursionError:
        raise ValueError("no WattBench record: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        if LINE_START.startswith(record[: len(LINE_START)]) and not record.endswith("}"):
            raise ValueError(CUT_SHORT) from None
        raise ValueError(f"damaged, or no WattBench record: {error.msg} at {error.pos}") from None
    if not isinstance(data, dict):
        raise ValueError("no WattBench record: it has no schema_version")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number in JSON")


DECODER = json.JSONDecoder(parse_constant=_no_constant)
