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
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from sys import intern
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from ...records import SCHEMA_VERSION, Condition, Environment, Phase, Quality, Run
from ..recording.packed import Packed

Builder = Callable[[Any, list[str]], Any]
"""Makes a record of data, and adds the names of fields that it does not know to a list."""

SHARED = (Condition, Environment)

MOST_SHARED = 4096
"""So many distinct ones are kept."""

EACH_ITS_OWN = frozenset({"run_id", "started_at", "picture_file", "sha256"})
"""Texts that differ from run to run; of others one copy serves all."""

LARGEST = 1e300
"""No number that was measured, and no product of two, comes near to what a float holds."""

TOO_LARGE = "a number in it is larger than any measured one"

ALWAYS_WRITTEN: dict[type, frozenset[str]] = {
    Run: frozenset({"phases", "energy", "vram", "rss", "trace"}),
    Phase: frozenset({"energy", "step_ends_s"}),
}
"""Fields with a default that every version has written: without them a line is damaged."""


def dumps(run: Run) -> str:
    """One line of the journal."""
    return json.dumps(
        {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(run)},
        default=list,
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


def qualities_of(data: object) -> tuple[Quality, ...]:
    """Qualities of a run, as its line holds them.

    Raises:
        ValueError: it is no list of such.
    """
    found: tuple[Quality, ...] = _tuple_builder((Quality, ...))(data, [])
    return found


def process_of_visit(visit: int) -> str:
    """What stands for the process of a run that knows its visit alone."""
    return f"visit {visit}"


def _of_version_1(data: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in data.items() if name != "prompt_id"}
    process_id = process_of_visit(data.get("visit", 0))
    return {**kept, "job_id": data.get("prompt_id", ""), "process_id": process_id}


@dataclass(frozen=True)
class Kind:
    """What a field may hold: plain values of some types, and ``None`` if that is one of them.

    ``build`` makes all else, of data; it is ``None`` where there is nothing else.
    """

    types: frozenset[type]
    build: Builder | None
    meant: str


NUMBER = frozenset({int, float})
PLAIN: dict[object, tuple[frozenset[type], str]] = {
    str: (frozenset({str}), "text"),
    bool: (frozenset({bool}), "true or false"),
    int: (NUMBER, "number"),
    float: (NUMBER, "number"),
}


@cache
def _kind(hint: Any) -> Kind:
    """What a value of a type is made of."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        [inner] = [_kind(one) for one in arguments if one is not NoneType]
        return Kind(inner.types | {NoneType}, inner.build, inner.meant)
    if origin is Literal:
        kind: Any = type(arguments[0])
        return _kind(kind)
    if hint in PLAIN:
        types, meant = PLAIN[hint]
        return Kind(types, None, meant)
    if origin in (tuple, Sequence):
        return Kind(frozenset(), _tuple_builder(arguments), "list")
    if issubclass(hint, tuple):
        return Kind(frozenset(), _samples_builder(hint), "list")
    return Kind(frozenset(), _record_builder(hint), hint.__name__)


Put = Callable[[Any, Any], None]
"""Sets a field of a frozen record: what its own __init__ does, in half of the time."""


class Plan(NamedTuple):
    """How data of one shape, its names and the types of its values, becomes a record."""

    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    built: tuple[tuple[str, Builder], ...]
    copied: tuple[tuple[str, Put], ...]
    absent: tuple[tuple[Any, Put], ...]
    foreign: tuple[str, ...]


@cache
def _record_builder(record: Any) -> Builder:
    plans: dict[object, Plan] = {}

    def build(data: Any, unknown: list[str]) -> Any:
        if not isinstance(data, dict):
            raise ValueError(f"no {record.__name__} where there should be one")
        shape = (*data, *map(type, data.values()))
        plan = plans.get(shape)
        if plan is None:
            if len(plans) >= MOST_SHARED:
                plans.clear()
            plan = plans[shape] = _plan(record, data)
        data = data.copy()
        for name in plan.numbers:
            if not -LARGEST <= data[name] <= LARGEST:
                raise ValueError(TOO_LARGE)
        for name in plan.texts:
            data[name] = intern(data[name])
        for name, inner in plan.built:
            data[name] = inner(data[name], unknown)
        made = object.__new__(record)
        for name, put in plan.copied:
            put(made, data[name])
        for value, put in plan.absent:
            put(made, value)
        unknown += plan.foreign
        return made

    return _once_each(build) if record in SHARED else build


def _plan(record: Any, data: dict[str, Any]) -> Plan:
    """Raises ValueError where no record can be made of data like these."""
    hints = get_type_hints(record)
    fields = dataclasses.fields(record)
    kinds = {field.name: _kind(hints[field.name]) for field in fields}
    defaults = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    needed = (kinds.keys() - defaults.keys()) | ALWAYS_WRITTEN.get(record, frozenset())
    if not needed <= data.keys():
        missing = ", ".join(sorted(needed - data.keys()))
        raise ValueError(f"its {record.__name__} has no {missing}")
    known = [(name, kinds[name], type(data[name])) for name in data if name in kinds]
    for name, kind, what in known:
        if what not in kind.types and kind.build is None:
            raise ValueError(f"{name} is no {kind.meant}")
    return Plan(
        tuple(name for name, _, what in known if what is str and name not in EACH_ITS_OWN),
        tuple(name for name, _, what in known if what in NUMBER),
        tuple((n, k.build) for n, k, what in known if k.build and what not in k.types),
        tuple((name, vars(record)[name].__set__) for name, _, _ in known),
        tuple((value, vars(record)[n].__set__) for n, value in defaults.items() if n not in data),
        tuple(f"{record.__name__}.{_shown(name)}" for name in data if name not in kinds),
    )


def _once_each(build: Builder) -> Builder:
    """One record for equal data: thousands of runs have one condition and one environment."""
    made: dict[object, Any] = {}

    def found(data: Any, unknown: list[str]) -> Any:
        if not isinstance(data, dict):
            return build(data, unknown)
        # With the types: 1, 1.0 and true are equal, and not all of them are numbers.
        key = (*data, *data.values(), *map(type, data.values()))
        try:
            return made[key]
        except (KeyError, TypeError):  # TypeError: a list or an object where a value belongs
            count = len(unknown)
            record = build(data, unknown)
        if len(unknown) == count:
            if len(made) >= MOST_SHARED:
                made.clear()
            made[key] = record
        return record

    return found


def _tuple_builder(arguments: tuple[Any, ...]) -> Builder:
    if isinstance(arguments[0], type) and issubclass(arguments[0], tuple):
        return _samples_builder(arguments[0])
    if arguments[-1] is not Ellipsis:
        return _pair_builder([_kind(argument) for argument in arguments])
    inner = _kind(arguments[0])

    def build(data: Any, unknown: list[str]) -> Any:
        if not isinstance(data, list):
            raise ValueError("no list where there should be one")
        if not data:
            return ()
        if inner.build is None and inner.types.issuperset(map(type, data)):
            if inner.types <= NUMBER:
                _all_finite(data)
            return tuple(data)
        return tuple([_item(value, inner, unknown) for value in data])

    return build


def _pair_builder(kinds: list[Kind]) -> Builder:
    def build(data: Any, unknown: list[str]) -> Any:
        if not isinstance(data, list) or len(data) != len(kinds):
            raise ValueError("no list where there should be one")
        return tuple(_item(*pair, unknown) for pair in zip(data, kinds, strict=True))

    return build


def _item(value: Any, kind: Kind, unknown: list[str]) -> Any:
    if type(value) in kind.types:
        return _finite(value) if type(value) in NUMBER else value
    if kind.build is None:
        raise ValueError(f"a list holds something else than {kind.meant}")
    return kind.build(value, unknown)


def _samples_builder(sample: Any) -> Builder:
    """Of a list of samples, each a list of two numbers."""
    size = len(sample._fields)

    def build(data: Any, unknown: list[str]) -> Any:
        wrong = f"no list of {sample.__name__} where there should be one"
        if not isinstance(data, list) or not {list}.issuperset(map(type, data)):
            raise ValueError(wrong)
        if not {size}.issuperset(map(len, data)):
            raise ValueError(wrong)
        numbers = list(chain.from_iterable(data))
        if not NUMBER.issuperset(map(type, numbers)):
            raise ValueError(f"a {sample.__name__} is not of numbers")
        _all_finite(numbers)
        return Packed(sample, array("d", numbers)) if numbers else ()

    return build


def number(value: object) -> float:
    """``value``, which is a number that arithmetic can be done with.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, (int, float)) or type(value) not in NUMBER:
        raise ValueError("no number where there should be one")
    return _finite(value)


def _finite(value: float) -> float:
    """``value``, which arithmetic can be done with.

    Raises:
        ValueError: it is none: 1e999, or an integer of a thousand digits.
    """
    if not -LARGEST <= value <= LARGEST:
        raise ValueError(TOO_LARGE)
    return value


def _all_finite(values: list[float]) -> None:
    """Raise as :func:`_finite` where one of them is none."""
    if values:
        _finite(min(values))
        _finite(max(values))


def _shown(name: str) -> str:
    """A field's name of a foreign file, fit for a line of text."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:40])
