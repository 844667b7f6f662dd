"""A run as plain JSON data and back: one place for the journal's schema and its history.

Version 1: ``prompt_id`` was the host's job. A process had a number, ``visit``, and no identity.
``condition.steps`` and sizes were those of the first sampling, and nothing was counted.

Version 2: ``job_id`` is the host's job, ``process_id`` the process, ``samplings`` what each
sampling was and was counted to be. ``condition`` covers all samplings and gains ``frames``,
``guidance``, ``vae``, ``text_encoder``, ``prompts`` and ``work``. ``not_counted`` leaves a run out.
A run of version 1 is read as one whose visit is its process and of which nothing was counted.
"""

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
    Forwards,
    KernelCalls,
    MemoryReading,
    Phase,
    PictureCheck,
    PowerSample,
    Prediction,
    Run,
    Sampling,
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


def run_of(data: dict[str, Any], version: int = SCHEMA_VERSION) -> Run:
    """The run of a line's data, ``schema_version`` taken out.

    Raises:
        KeyError, TypeError, AttributeError: it is no run of this schema.
    """
    if version == 1:
        data = _of_version_1(data)
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
            "samplings": tuple(_sampling(sampling) for sampling in data.get("samplings", ())),
        }
    )


def process_of_visit(visit: int) -> str:
    """What stands for the process of a run that knows its visit alone."""
    return f"visit {visit}"


def _of_version_1(data: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in data.items() if name != "prompt_id"}
    process_id = process_of_visit(data["visit"])
    return {**kept, "job_id": data.get("prompt_id", ""), "process_id": process_id}


def _sampling(data: dict[str, Any]) -> Sampling:
    forwards = tuple(
        Forwards(**{**calls, "shape": tuple(calls["shape"])}) for calls in data["forwards"]
    )
    scales = tuple((name, value) for name, value in data["scales"])
    return Sampling(**{**data, "forwards": forwards, "scales": scales})


def _board(data: dict[str, Any]) -> BoardState:
    return BoardState(**{**data, "flags": tuple(data.get("flags", ()))})


def _phase(data: dict[str, Any]) -> Phase:
    energy = _optional(EnergyReading, data["energy"])
    return Phase(**{**data, "energy": energy, "step_ends_s": tuple(data["step_ends_s"])})


def _optional(kind: type[Reading], data: dict[str, Any] | None) -> Reading | None:
    return None if data is None else kind(**data)
