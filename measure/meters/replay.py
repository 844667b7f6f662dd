"""A recorded trace in place of a meter: to try a workflow, a table or a test without the hardware.

A trace is a CSV file with a header, or a file of JSON objects, one a line. Each row has ``t_s``
(seconds, rising) and one or more of ``energy_j`` (a counter, never falling), ``power_w`` and
``vram_bytes``. A cell may be blank (JSON: absent or null): that channel keeps its last value. A
channel that the first row leaves out does not exist. At least two rows, energy or power among them.
"""

from __future__ import annotations

import csv
import json
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...incoming import IncomingError, read_text
from .base import Meter, MeterSource, MeterUnavailableError, Offer

CHANNELS = ("energy_j", "power_w", "vram_bytes")
MAX_TRACE_BYTES = 64 * 2**20

_FORMAT = "write CSV or JSON lines with t_s and energy_j and/or power_w, optionally vram_bytes"


@dataclass(frozen=True)
class Recording:
    """Times in seconds from the first row, and the channels' values at them."""

    t_s: tuple[float, ...]
    channels: Mapping[str, tuple[float, ...]]

    @property
    def duration_s(self) -> float:
        return self.t_s[-1]


class ReplayMeter(Meter):
    """Plays a recording from the moment of opening, over and over.

    Each value holds until the next row. The counter goes on rising from one round to the next. The
    last row ends a round: only its energy counts, its power and memory are not held.
    """

    scope = "gpu"
    provenance = "simulated"

    def __init__(
        self, name: str, recording: Recording, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.name = name
        self.note = f"simulated: a recording of {recording.duration_s:g} s, repeated"
        self._recording = recording
        self._clock = clock
        self._start_s = clock()

    def read_energy_j(self) -> float | None:
        values = self._recording.channels.get("energy_j")
        if values is None:
            return None
        round_count, row = self._position()
        return values[row] + round_count * (values[-1] - values[0])

    def read_power_w(self) -> float | None:
        return self._held("power_w")

    def read_vram_bytes(self) -> int | None:
        used = self._held("vram_bytes")
        return None if used is None else int(used)

    def close(self) -> None:
        """Nothing is held."""

    def _held(self, channel: str) -> float | None:
        values = self._recording.channels.get(channel)
        return None if values is None else values[self._position()[1]]

    def _position(self) -> tuple[int, int]:
        """How many rounds are over, and the row in force."""
        elapsed_s = self._clock() - self._start_s
        round_count, in_round_s = divmod(elapsed_s, self._recording.duration_s)
        return int(round_count), bisect_right(self._recording.t_s, in_round_s) - 1


class ReplaySource(MeterSource):
    """``replay:FILE``; the path may hold colons, as Windows paths do."""

    key = "replay"
    opt_in = True

    def probe(self) -> list[Offer]:
        return [
            Offer("replay:FILE", "a recorded trace (CSV or JSON lines), simulated; opt-in", True)
        ]

    def open(self, selector: str) -> Meter:
        if not selector:
            raise MeterUnavailableError("the meter 'replay' needs a file", "name replay:FILE")
        return ReplayMeter(f"replay:{selector}", load(Path(selector)))


def load(path: Path) -> Recording:
    """Read a recording.

    Raises:
        MeterUnavailableError: the file cannot be read or is no such trace; it names the line.
    """
    try:
        text = read_text(path, MAX_TRACE_BYTES)
    except IncomingError as error:
        raise MeterUnavailableError(f"cannot read the trace: {error}", _FORMAT) from error
    try:
        return parse(text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise MeterUnavailableError(f"{path} is no trace: {error}", _FORMAT) from error


def parse(text: str) -> Recording:
    """A recording from the text of a file.

    Raises:
        ValueError: it names the line and what is wrong with it.
    """
    rows = list(_json_rows(text) if text.lstrip().startswith("{") else _csv_rows(text))
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} rows, at least 2 needed")
    names = [name for name in CHANNELS if rows[0][1].get(name) is not None]
    if not {"energy_j", "power_w"} & set(names):
        raise ValueError("its first row has neither energy_j nor power_w")
    times = _rising(rows)
    channels = {name: _channel(rows, name) for name in names}
    return Recording(tuple(t - times[0] for t in times), channels)


def _json_rows(text: str) -> Iterable[tuple[int, dict[str, float | None]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: {error.msg} at {error.pos}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        yield number, {name: _number(number, name, row.get(name)) for name in ("t_s", *CHANNELS)}


def _csv_rows(text: str) -> Iterable[tuple[int, dict[str, float | None]]]:
    reader = csv.DictReader(text.splitlines())
    if "t_s" not in (reader.fieldnames or ()):
        raise ValueError("its first line is no header with a column t_s")
    for row in reader:
        number = reader.line_num
        yield number, {name: _number(number, name, row.get(name)) for name in ("t_s", *CHANNELS)}


def _number(line: int, name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (name != "t_s" and number < 0):
        raise ValueError(f"line {line}: {name} is no number from 0 on that can be read")
    return number


def _rising(rows: list[tuple[int, dict[str, float | None]]]) -> list[float]:
    times: list[float] = []
    for line, row in rows:
        t_s = row["t_s"]
        if t_s is None or (times and t_s <= times[-1]):
            raise ValueError(f"line {line}: t_s is {t_s}, it has to rise")
        times.append(t_s)
    return times


def _channel(rows: list[tuple[int, dict[str, float | None]]], name: str) -> tuple[float, ...]:
    values: list[float] = []
    for line, row in rows:
        value = row[name]
        if value is None:
            value = values[-1]
        if name == "energy_j" and values and value < values[-1]:
            raise ValueError(f"line {line}: energy_j falls from {values[-1]:g} to {value:g}")
        values.append(value)
    return tuple(values)
