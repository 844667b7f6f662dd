"""A run as plain JSON data and back: one place for the journal's schema and its history."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

from ...records import (
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


def dumps(run: Run) -> str:
    """One line of the journal."""
    return json.dumps(
        {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(run)},
        allow_nan=False,
        separators=(",", ":"),
    )


def run_of(data: dict[str, Any]) -> Run:
    """The run of a line's data, ``schema_version`` taken out.

    Raises:
        KeyError, TypeError, AttributeError: it is no run of this schema.
    """
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
