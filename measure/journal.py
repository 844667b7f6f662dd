"""The journal: every measured run as one JSON line, written as soon as the run has ended."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, TypeVar

from .records import (
    SCHEMA_VERSION,
    BoardState,
    Condition,
    CounterSample,
    EnergyReading,
    Environment,
    KernelCalls,
    MemoryReading,
    Phase,
    PictureCheck,
    PowerSample,
    Prediction,
    Run,
    Trace,
)

Reading = TypeVar("Reading", EnergyReading, MemoryReading, Prediction, PictureCheck)


class Journal:
    """An append-only file of runs.

    Raises:
        OSError: on making it, where the file cannot be written: better before a run than after.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass

    def append(self, run: Run) -> None:
        """Write ``run`` and wait until it is on the disk: a crash afterwards does not lose it."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(dumps(run) + "\n")
            file.flush()
            os.fsync(file.fileno())


def dumps(run: Run) -> str:
    """One line of the journal."""
    return json.dumps(
        {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(run)},
        allow_nan=False,
        separators=(",", ":"),
    )


def parse(text: str) -> list[Run]:
    """The runs of a journal. A last line that a crash cut short is left out.

    Raises:
        ValueError: a line that is no run, or of another schema version; it is named by its number.
    """
    lines = text.split("\n")
    complete = lines[:-1]
    return [_parse_line(number, line) for number, line in enumerate(complete, 1) if line.strip()]


def _parse_line(number: int, line: str) -> Run:
    try:
        data = json.loads(line)
        version = data.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"it has schema version {version}, this WattBench reads {SCHEMA_VERSION}"
            )
        return _run(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"journal line {number} is not a WattBench run: {error}") from error


def _run(data: dict[str, Any]) -> Run:
    trace = data["trace"]
    return Run(
        **{
            **data,
            "condition": Condition(**data["condition"]),
            "environment": Environment(**data["environment"]),
            "phases": tuple(_phase(phase) for phase in data["phases"]),
            "energy": _optional(EnergyReading, data["energy"]),
            "predicted_energy": _optional(Prediction, data.get("predicted_energy")),
            "vram": _optional(MemoryReading, data["vram"]),
            "rss": _optional(MemoryReading, data["rss"]),
            "board": _board(data.get("board", {})),
            "kernel_calls": tuple(KernelCalls(**calls) for calls in data.get("kernel_calls", ())),
            "picture": _optional(PictureCheck, data.get("picture")),
            "trace": Trace(
                tuple(CounterSample(*sample) for sample in trace["counter"]),
                tuple(PowerSample(*sample) for sample in trace["power"]),
                trace.get("tick_error_s", Trace.tick_error_s),
            ),
        }
    )


def _board(data: dict[str, Any]) -> BoardState:
    return BoardState(**{**data, "flags": tuple(data.get("flags", ()))})


def _phase(data: dict[str, Any]) -> Phase:
    energy = _optional(EnergyReading, data["energy"])
    return Phase(**{**data, "energy": energy, "step_ends_s": tuple(data["step_ends_s"])})


def _optional(kind: type[Reading], data: dict[str, Any] | None) -> Reading | None:
    return None if data is None else kind(**data)
