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
import math
from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ...records import SCHEMA_VERSION, Phase, Run

Builder = Callable[[Any, list[str]], Any]
"""Makes a record of data, and adds the names of fields that it does not know to a list."""

ALWAYS_WRITTEN: dict[type, frozenset[str]] = {
    Run: frozenset({"phases", "energy", "vram", "rss", "trace"}),
    Phase: frozenset({"energy", "step_ends_s"}),
}
"""Fields with a default that every version has written: without them a line is damaged."""


def dumps(run: Run) -> str:
    """One line of the journal."""
    return json.dumps(
        {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(run)},
        allow_nan=False,
        separators=(",", ":"),
    )


def run_of(data: dict[str, Any], version: int = SCHEMA_VERSION) -> tuple[Run, list[str]]:
    """The run of a line's data, ``schema_version`` taken out, and its fields that nobody knows.

    Raises:
        ValueError: it is no run of this schema; the message quotes nothing of it.
    """
    if version == 1:
        data = _of_version_1(data)
    unknown: list[str] = []
    run: Run = _record_builder(Run)(data, unknown)
    return run, unknown


def process_of_visit(visit: int) -> str:
    """What stands for the process of a run that knows its visit alone."""
    return f"visit {visit}"


def _of_version_1(data: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in data.items() if name != "prompt_id"}
    process_id = process_of_visit(data.get("visit", 0))
    return {**kept, "job_id": data.get("prompt_id", ""), "process_id": process_id}


@cache
def _builder(hint: Any) -> Builder | None:
    """What makes a value of a type; ``None`` for plain ones, which are taken as they are."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        [inner] = [one for one in arguments if one is not NoneType] or [NoneType]
        build = _builder(inner)
        return build and (lambda value, unknown: None if value is None else build(value, unknown))
    if origin is tuple:
        return _tuple_builder(arguments)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _record_builder(hint)
    if isinstance(hint, type) and issubclass(hint, tuple):
        return _sample_builder(hint)
    return None


@cache
def _record_builder(kind: Any) -> Builder:
    hints = get_type_hints(kind)
    builders = {field.name: _builder(hints[field.name]) for field in dataclasses.fields(kind)}
    needed = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    } | ALWAYS_WRITTEN.get(kind, frozenset())

    def build(data: Any, unknown: list[str]) -> Any:
        if not isinstance(data, dict):
            raise ValueError(f"no {kind.__name__} where there should be one")
        missing = needed - data.keys()
        if missing:
            raise ValueError(f"its {kind.__name__} has no {', '.join(sorted(missing))}")
        values = {}
        for name, value in data.items():
            if name not in builders:
                unknown.append(f"{kind.__name__}.{_shown(name)}")
                continue
            inner = builders[name]
            values[name] = _plain(value, name) if inner is None else inner(value, unknown)
        return kind(**values)

    return build


def _tuple_builder(arguments: tuple[Any, ...]) -> Builder:
    inner = _builder(arguments[0]) if arguments[-1] is Ellipsis else None

    def build(data: Any, unknown: list[str]) -> Any:
        if not isinstance(data, list):
            raise ValueError("no list where there should be one")
        if inner is None:
            return tuple(_plain(value, "a list") for value in data)
        return tuple(inner(value, unknown) for value in data)

    return build


def _sample_builder(kind: Any) -> Builder:
    size = len(kind._fields)

    def build(data: Any, unknown: list[str]) -> Any:
        if not isinstance(data, list) or len(data) != size:
            raise ValueError(f"no {kind.__name__} where there should be one")
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in data):
            raise ValueError(f"a {kind.__name__} is not of numbers")
        return kind(*data)

    return build


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, (dict, list)) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{name} is no number or text")
    return value


def _shown(name: str) -> str:
    """A field's name of a foreign file, fit for a line of text."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:40])
