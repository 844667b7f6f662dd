"""A plan of the matrix runner: what to measure, in TOML, checked before anything runs.

A key that no plan has is refused with its line and the nearest key that there is; so a misspelt
option never goes unnoticed.
"""

from __future__ import annotations

import difflib
import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..incoming import IncomingError, read_text
from .axes import AS_IS, AXES, axis_named

Level = str | int | float
MAX_PLAN_BYTES = 2**20

SECTIONS = ("name", "seed", "workload", "axes", "baseline", "exclude", "run", "stop", "fleet")
WORKLOAD_KEYS = ("name", "workflow", "compare_with")
REASON, WORKLOAD = "reason", "workload"


@dataclass(frozen=True)
class Workload:
    """A workflow to measure: a file, or a shipped one by its name without ``.json``.

    ``compare_with`` is another workload that makes the same pictures in another way: its baseline
    is this one's too.
    """

    name: str
    workflow: Path
    compare_with: str = ""


@dataclass(frozen=True)
class Protocol:
    """How a visit goes. Every cell of every block is a visit.

    ``isolation`` is ``process`` (a fresh server for each visit) or ``block`` (one server for the
    visits of a block that need the same launch options). ``deadline_s`` bounds one prompt;
    ``expected_s`` is what one is thought to take, for the hours that are told beforehand.
    """

    isolation: str = "process"
    warmup: int = 1
    repeats: int = 3
    deadline_s: float = 1800.0
    expected_s: float = 30.0
    cooldown_s: float = 0.0


@dataclass(frozen=True)
class Stop:
    """Blocks go on until every ratio to the baseline is known within ``half_width``."""

    blocks_min: int = 5
    blocks_max: int = 12
    half_width: float = 0.02


@dataclass(frozen=True)
class CardsWanted:
    """Cards of a fleet that have all of these labels; an empty one is any.

    ``gpu`` is part of the card's name, ``driver`` how its version begins, ``host`` the machine's
    name. ``workloads`` are those that these cards measure; none are all of the plan's.
    """

    gpu: str = ""
    driver: str = ""
    host: str = ""
    workloads: tuple[str, ...] = ()

    @property
    def labels(self) -> str:
        """What is asked for, as ``gpu = RTX 3090, host = oak``."""
        asked = {name: getattr(self, name) for name in ("gpu", "driver", "host")}
        return ", ".join(f"{name} = {value}" for name, value in asked.items() if value) or "any"


@dataclass(frozen=True)
class FleetWanted:
    """Who of a fleet measures the plan; ``together`` lets cards of one machine run at once."""

    cards: tuple[CardsWanted, ...] = (CardsWanted(),)
    together: bool = False


@dataclass(frozen=True)
class Cell:
    """One combination of levels of one workload."""

    workload: str
    levels: tuple[tuple[str, Level], ...]

    @property
    def name(self) -> str:
        """The same in every run of the plan, as ``sdxl: attention=sdpa, steps=10``."""
        levels = ", ".join(f"{axis}={level}" for axis, level in self.levels)
        return f"{self.workload}: {levels}" if levels else self.workload


@dataclass(frozen=True)
class Excluded:
    """A cell that is not measured, with the reason."""

    cell: Cell
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a TOML file asks for. ``baseline`` has a level for every axis."""

    name: str
    seed: int
    workloads: tuple[Workload, ...]
    axes: Mapping[str, tuple[Level, ...]]
    baseline: Mapping[str, Level]
    excludes: tuple[tuple[Mapping[str, Level], str], ...]
    protocol: Protocol
    stop: Stop
    fleet: FleetWanted = FleetWanted()

    def only(self, workloads: Sequence[str]) -> Plan:
        """The plan with these of its workloads; with all of them where none is named.

        Raises:
            UsageError: it has no such workload.
        """
        if not workloads:
            return self
        known = [workload.name for workload in self.workloads]
        for name in workloads:
            if name not in known:
                raise UsageError(f"the plan has no workload {name!r}{nearest(name, known)}")
        kept = [
            one if one.compare_with in workloads else replace(one, compare_with="")
            for one in self.workloads
            if one.name in workloads
        ]
        return replace(self, workloads=tuple(kept))

    def cells(self) -> list[Cell]:
        """Every combination that is not excluded, the baseline of each workload first."""
        return [cell for cell, reason in self._all() if not reason]

    def excluded(self) -> list[Excluded]:
        """Every combination that the plan itself leaves out."""
        return [Excluded(cell, reason) for cell, reason in self._all() if reason]

    def baseline_of(self, cell: Cell) -> Cell:
        """The cell that ``cell`` is compared with: the levers as in the baseline.

        Axes that make other work (steps, size, model) keep the cell's own level: a ratio between
        unlike pictures says nothing.
        """
        others = {one.name: one.compare_with for one in self.workloads if one.compare_with}
        levels = tuple(
            (axis, level if axis_named(axis).changes_work else self.baseline[axis])
            for axis, level in cell.levels
        )
        return Cell(others.get(cell.workload, cell.workload), levels)

    def _all(self) -> Iterator[tuple[Cell, str]]:
        for workload in self.workloads:
            ordered = [
                [self.baseline[axis], *(n for n in levels if n != self.baseline[axis])]
                for axis, levels in self.axes.items()
            ]
            for combination in itertools.product(*ordered):
                levels = tuple(zip(self.axes, combination, strict=True))
                place = {**dict(levels), WORKLOAD: workload.name}
                yield Cell(workload.name, levels), self._why_not(place)

    def _why_not(self, place: Mapping[str, Level]) -> str:
        for pattern, reason in self.excludes:
            if all(place.get(key) == value for key, value in pattern.items()):
                return reason
        return ""


def read_plan(path: Path, workflows: Path) -> Plan:
    """The plan in a TOML file.

    Args:
        workflows: folder of the shipped workflows, for workloads that are named.

    Raises:
        UsageError: it cannot be read, is no TOML, or holds something that no plan has; with the
            line where that can be told.
    """
    if sys.version_info < (3, 11):
        raise UsageError("plans are TOML, which needs Python 3.11 or later")
    import tomllib

    try:
        text = read_text(path, MAX_PLAN_BYTES)
        data = tomllib.loads(text)
    except IncomingError as error:
        raise UsageError(str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML that can be read") from error
    return _Reader(path, text, workflows).plan(data)


class _Reader:
    """Turns the data of one file into a plan; knows where in the file a key stands."""

    def __init__(self, path: Path, text: str, workflows: Path) -> None:
        self._path, self._lines, self._workflows = path, text.splitlines(), workflows

    def plan(self, data: dict[str, Any]) -> Plan:
        self._check_keys(data, SECTIONS, "a plan")
        axes = self._axes(data.get("axes", {}))
        baseline = {axis: levels[0] for axis, levels in axes.items()}
        asked = data.get("baseline", {})
        self._check_keys(asked, axes, "the baseline; it names axes of the plan")
        for axis, level in asked.items():
            if level not in axes[axis]:
                raise self._error(axis, f"the baseline's {axis} = {level!r} is no level of it")
            baseline[axis] = level
        protocol = self._section("run", data.get("run", {}), Protocol())
        if protocol.isolation == "block" and "power_cap_w" in axes:
            raise self._error(
                "isolation",
                "cells that differ in power_cap_w alone are answered from the cache of a server "
                "that they share: isolation = 'process'",
            )
        workloads = self._workloads(data.get("workload"))
        return Plan(
            name=str(data.get("name", self._path.stem)),
            seed=self._seed(data.get("seed", 0)),
            workloads=workloads,
            axes=axes,
            baseline=baseline,
            excludes=self._excludes(data.get("exclude", []), axes, [w.name for w in workloads]),
            protocol=protocol,
            stop=self._section("stop", data.get("stop", {}), Stop()),
            fleet=self._fleet(data.get("fleet", {}), [one.name for one in workloads]),
        )

    def _seed(self, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._error("seed", f"seed = {value!r} is no whole number")
        return value

    def _axes(self, data: Any) -> dict[str, tuple[Level, ...]]:
        self._check_keys(data, [axis.name for axis in AXES], "axes")
        axes = {}
        for name, levels in data.items():
            axis = axis_named(name)
            if not isinstance(levels, list) or not levels:
                raise self._error(name, f"{name} needs a list of levels, such as {axis.example}")
            for level in levels:
                if level != AS_IS and (problem := axis.refuse(level)):
                    raise self._error(name, f"{name} = {level!r}: {problem}")
            if len(set(levels)) < len(levels):
                raise self._error(name, f"{name} names a level twice")
            axes[name] = tuple(levels)
        return axes

    def _workloads(self, data: Any) -> tuple[Workload, ...]:
        if not isinstance(data, list) or not data:
            raise self._error("workload", "a plan needs [[workload]] with a name and a workflow")
        found = []
        for entry in data:
            self._check_keys(entry, WORKLOAD_KEYS, "a workload")
            if "workflow" not in entry:
                raise self._error("workload", "a workload needs its workflow")
            path = self._workflow(str(entry["workflow"]))
            name, other = str(entry.get("name", path.stem)), entry.get("compare_with", "")
            found.append(Workload(name, path, str(other)))
        names = [workload.name for workload in found]
        if len(set(names)) < len(names):
            raise self._error("workload", f"two workloads have one name: {', '.join(names)}")
        first = [workload.name for workload in found if not workload.compare_with]
        for workload in found:
            if workload.compare_with and workload.compare_with not in first:
                raise self._error(
                    "compare_with",
                    f"compare_with = {workload.compare_with!r} is no workload with a baseline of "
                    f"its own{nearest(workload.compare_with, first)}",
                )
        return tuple(found)

    def _workflow(self, name: str) -> Path:
        beside = self._path.parent / name
        shipped = self._workflows / f"{name}.json"
        for candidate in (beside, shipped):
            if candidate.is_file():
                return candidate.resolve()
        files = self._workflows.rglob("*.json")
        known = sorted(
            path.relative_to(self._workflows).with_suffix("").as_posix() for path in files
        )
        raise self._error(
            "workflow",
            f"there is no file {beside} and no shipped workflow {name!r}{nearest(name, known)}",
        )

    def _excludes(
        self, data: Any, axes: Mapping[str, Sequence[Level]], workloads: Sequence[str]
    ) -> tuple[tuple[Mapping[str, Level], str], ...]:
        found, keys = [], [WORKLOAD, *axes, REASON]
        for entry in data:
            self._check_keys(entry, keys, "an exclude; it names axes or a workload of the plan")
            pattern = {key: value for key, value in entry.items() if key != REASON}
            name = pattern.get(WORKLOAD, workloads[0])
            if name not in workloads:
                where = f"there is no workload {name!r} to exclude"
                raise self._error("exclude", f"{where}{nearest(str(name), workloads)}")
            if not entry.get(REASON) or not pattern:
                raise self._error("exclude", "an exclude needs levels and a reason")
            found.append((pattern, str(entry[REASON])))
        return tuple(found)

    def _fleet(self, data: Any, workloads: Sequence[str]) -> FleetWanted:
        self._check_keys(data, ("cards", "together"), "[fleet]")
        together, entries = data.get("together", False), data.get("cards", [{}])
        if not isinstance(together, bool):
            raise self._error("together", "together is true or false")
        if not isinstance(entries, list) or not entries:
            raise self._error("cards", 'cards are a list, such as [{ gpu = "RTX 3090" }]')
        cards = []
        for entry in entries:
            self._check_keys(entry, [field.name for field in fields(CardsWanted)], "a card")
            own = entry.get("workloads", [])
            if not isinstance(own, list) or any(name not in workloads for name in own):
                raise self._error("cards", f"workloads = {own!r}: name some of the plan's")
            labels = {key: value for key, value in entry.items() if key != "workloads"}
            for key, value in labels.items():
                if not isinstance(value, str) or not value:
                    raise self._error("cards", f"{key} = {value!r} is no text")
            cards.append(CardsWanted(**labels, workloads=tuple(own)))
        return FleetWanted(tuple(cards), together)

    def _section(self, name: str, data: Any, default: Any) -> Any:
        known = {field.name: getattr(default, field.name) for field in fields(default)}
        self._check_keys(data, known, f"[{name}]")
        for key, value in data.items():
            wanted = type(known[key])
            right = isinstance(value, (int, float) if wanted is float else wanted)
            if not right or isinstance(value, bool):
                raise self._error(key, f"{key} = {value!r} is no {wanted.__name__}")
            if wanted is not str and not (0 <= value < float("inf")):
                raise self._error(key, f"{key} = {value!r} is out of range")
        if name == "run" and data.get("isolation", "process") not in ("process", "block"):
            raise self._error("isolation", "isolation is process or block")
        made = type(default)(**{**known, **data})
        if isinstance(made, Stop) and not 1 <= made.blocks_min <= made.blocks_max:
            raise self._error("blocks_min", "blocks_min lies between 1 and blocks_max")
        if isinstance(made, Protocol) and made.repeats < 1:
            raise self._error("repeats", "repeats is at least 1")
        return made

    def _check_keys(self, data: Any, known: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise UsageError(f"{self._path}: {where} is no table of keys")
        for key in data:
            if key not in known:
                raise self._error(key, f"{where} has no {key!r}{nearest(key, list(known))}")

    def _error(self, key: str, message: str) -> UsageError:
        pattern = re.compile(rf"^\s*(\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*[\]=.]")
        numbers = [n for n, line in enumerate(self._lines, 1) if pattern.match(line)]
        where = f"{self._path}, line {numbers[0]}" if numbers else str(self._path)
        return UsageError(f"{where}: {message}")


def nearest(word: str, known: Sequence[str]) -> str:
    """``; did you mean ...?`` with the known word most like ``word``, else all there are."""
    close = difflib.get_close_matches(word, known, 1, 0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f". There are: {', '.join(known)}" if known else ""
