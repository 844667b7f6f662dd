"""What a cell of a plan asks for: a graph, launch options, a power cap; or why it cannot run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..errors import CommandError, UsageError
from ..hosts.remote.definitions import Definitions
from ..hosts.remote.graph import Graph, repeated_in_block
from .axes import AS_IS, AXES, with_level
from .levels import Offers, level_refused
from .levers import LEVERS
from .plan import Cell, Excluded, Plan
from .rig import Bench
from .search import Settings

POWER_CAP = "power_cap_w"
LAUNCH = "launch"
LEVER_NAMES = {lever.name for lever in LEVERS}


@dataclass(frozen=True)
class Asked:
    """A cell as it is run; ``cap_w`` is ``None`` where the board's limit stays as it is."""

    graph: Graph
    launch: tuple[str, ...] = ()
    cap_w: int | None = None


@dataclass
class Ready:
    """The cells of a plan that this machine can run, and those that it cannot, with the reason."""

    cells: list[Cell] = field(default_factory=list)
    asked: dict[Cell, Asked] = field(default_factory=dict)
    skipped: list[Excluded] = field(default_factory=list)


def ready(plan: Plan, bench: Bench, cap_refused: Callable[[int], str]) -> Ready:
    """What of a plan can run here.

    Args:
        bench: a server, asked what it has.
        cap_refused: why the power limit cannot be set to so many watts; empty where it can.

    Raises:
        UsageError: a level that no machine has.
    """
    offered, graphs = bench.levers(), {}
    problems: dict[str, str] = {}
    for workload in plan.workloads:
        try:
            graphs[workload.name] = bench.api_graph_of(workload.workflow)
        except CommandError as error:
            problems[workload.name] = str(error)
    refused = {
        (axis, level): level_refused(axis, str(level), offered)
        for axis, levels in plan.axes.items()
        for level in levels
        if axis in LEVER_NAMES and level != AS_IS
    }
    caps = [int(level) for level in plan.axes.get(POWER_CAP, ()) if level != AS_IS]
    refused.update(((POWER_CAP, cap_w), cap_refused(cap_w)) for cap_w in caps)
    found = Ready(
        skipped=[replace(one, reason=f"by the plan: {one.reason}") for one in plan.excluded()]
    )
    for cell in plan.cells():
        reasons = [refused.get(pair, "") for pair in cell.levels if pair[1] != AS_IS]
        reason = problems.get(cell.workload) or next(filter(None, reasons), "")
        if not reason:
            try:
                found.asked[cell] = _asked(cell, graphs[cell.workload], bench, offered)
            except (ValueError, UsageError) as error:
                reason = str(error)
        if reason:
            found.skipped.append(Excluded(cell, reason))
        else:
            found.cells.append(cell)
    return found


def _asked(cell: Cell, graph: Graph, bench: Bench, offered: Offers) -> Asked:
    """What to run for a cell.

    Raises:
        ValueError: the workload has no place for one of its levels, or the server would refuse it.
        UsageError: its seeds cannot be counted on.
    """
    levels = {axis: level for axis, level in cell.levels if level != AS_IS}
    for axis in AXES:
        if axis.name in levels and axis.inputs:
            graph = with_level(graph, axis, levels[axis.name])
    settings: Settings = tuple(
        (axis, str(level)) for axis, level in levels.items() if axis in LEVER_NAMES
    )
    graph = bench.with_levers(graph, settings)
    bench.instrumented(graph)
    repeated_in_block(graph, 1, 0, bench.definitions)
    _check_choices(graph, bench.definitions)
    needed = [
        offer.get("needs", "")
        for axis, level in settings
        for offer in offered.get(axis, ())
        if offer["name"] == level
    ]
    words = " ".join(dict.fromkeys([str(levels.get(LAUNCH, "")), *needed])).split()
    cap_w = levels.get(POWER_CAP)
    return Asked(graph, tuple(words), None if cap_w is None else int(cap_w))


def _check_choices(graph: Graph, definitions: Definitions) -> None:
    """Raise ValueError where a node names a file or an option that the server does not have."""
    for node in graph.values():
        definition = definitions.get(node["class_type"])
        for item in definition.inputs if definition else ():
            value = node["inputs"].get(item.name)
            if item.choices is not None and isinstance(value, str) and value not in item.choices:
                raise ValueError(
                    f"this server has no {item.name} {value!r} for {node['class_type']}: put the "
                    "file into its models, or install what offers it"
                )
