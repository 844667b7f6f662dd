"""Putting nodes into the wires of a workflow as ComfyUI's page saves it, laid out to be read.

A workflow has nodes and links at its top level, and the same within each of its subgraphs. A new
node goes into the wires at the level of the node that they lead to, near where they come from, on a
place that no other node covers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ..hosts.remote.definitions import Definition, Definitions
from .wiring import Node, Target

Workflow = dict[str, Any]

WIDTH_PX, TITLE_PX, SOCKET_PX, WIDGET_PX, GAP_PX = 330, 50, 24, 54, 40
"""Room for a node in either renderer: the newer one draws a widget 40 to 54 px high."""

MUTED, BYPASSED = 2, 4


def is_canvas(workflow: Any) -> bool:
    """Whether this is a page's workflow rather than a graph in API format."""
    return isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list)


def put_on_canvas(
    workflow: Workflow,
    nodes: Sequence[Node],
    targets: Sequence[tuple[str, Target]],
    definitions: Definitions,
) -> Workflow:
    """A copy of ``workflow`` with ``nodes`` in the wires that lead to ``targets``.

    Args:
        targets: a wire's type and the input at its end, for each; the node's id is that of the API
            format, ``12:5`` for node 5 of the subgraph that node 12 stands for.

    Raises:
        ValueError: the workflow has no such node or wire.
    """
    changed = copy.deepcopy(workflow)
    for node in nodes:
        wires: dict[tuple[int, str, int], _Wire] = {}
        for level, link in _links_to(changed, [t for wire, t in targets if wire == node.wire]):
            origin = (id(level.graph), str(level.origin(link)), level.origin_slot(link))
            wires.setdefault(origin, _Wire(level)).links[_get(link, 0, "id")] = link
        for wire in wires.values():
            wire.level.insert(node, list(wire.links.values()), definitions[node.class_type])
    return changed


def _links_to(workflow: Workflow, targets: Sequence[Target]) -> Iterator[tuple[_Level, Any]]:
    """Each target's level and the link into it."""
    for target in targets:
        level = _level_of(workflow, target.node_id)
        yield level, level.link_to(target)


@dataclass
class _Wire:
    """Links that come from one output. A subgraph that is used twice has its links once."""

    level: _Level
    links: dict[int, Any] = field(default_factory=dict)


@dataclass
class _Level:
    """The top level of a workflow, or one of its subgraphs: ``graph`` holds nodes and links.

    Links are lists ``[id, origin, slot, target, slot, type]`` at the top, and objects within
    subgraphs.
    """

    graph: dict[str, Any]
    counters: dict[str, Any]
    ids: tuple[str, str]
    target_id: str

    def link_to(self, target: Target) -> Any:
        """The link that leads into an input.

        Raises:
            ValueError: there is none.
        """
        node = self.node(self.target_id)
        entry = next((i for i in node.get("inputs", ()) if i["name"] == target.input_name), None)
        if entry is None or entry.get("link") is None:
            raise ValueError(f"node {target.node_id} has nothing wired to {target.input_name}")
        return next(link for link in self.graph["links"] if _get(link, 0, "id") == entry["link"])

    def node(self, node_id: str) -> dict[str, Any]:
        for node in self.graph["nodes"]:
            if str(node["id"]) == node_id:
                return cast("dict[str, Any]", node)
        raise ValueError(f"the workflow has no node {node_id}")

    def origin(self, link: Any) -> Any:
        return _get(link, 1, "origin_id")

    def origin_slot(self, link: Any) -> int:
        return int(_get(link, 2, "origin_slot"))

    def insert(self, node: Node, links: Sequence[Any], definition: Definition) -> None:
        """Put ``node`` into ``links``, which come from one output."""
        origin_id, slot = self.origin(links[0]), self.origin_slot(links[0])
        new_id = self.counters[self.ids[0]] = int(self.counters[self.ids[0]]) + 1
        into = self.counters[self.ids[1]] = int(self.counters[self.ids[1]]) + 1
        size = _size_of(definition)
        made = _canvas_node(new_id, node, definition, size, into)
        made["pos"] = _free_place(self.graph["nodes"], self._beside(origin_id), size)
        made["order"] = len(self.graph["nodes"])
        socket = next(i for i, item in enumerate(made["inputs"]) if item["type"] == node.wire)
        output = definition.outputs.index(node.wire)
        for link in links:
            self._take_from(origin_id, slot, _get(link, 0, "id"))
            _set(link, 1, "origin_id", new_id)
            _set(link, 2, "origin_slot", output)
            made["outputs"][output]["links"].append(_get(link, 0, "id"))
        self._add_link(into, (origin_id, slot, new_id, socket, node.wire), links[0])
        self.graph["nodes"].append(made)

    def _take_from(self, origin_id: Any, slot: int, link_id: int) -> None:
        for entry in self._sockets(origin_id, slot):
            for name in ("links", "linkIds"):
                if entry.get(name):
                    entry[name] = [one for one in entry[name] if one != link_id]

    def _add_link(self, link_id: int, ends: tuple[Any, int, int, int, str], like: Any) -> None:
        origin_id, slot, target_id, target_slot, kind = ends
        if isinstance(like, list):
            self.graph["links"].append([link_id, origin_id, slot, target_id, target_slot, kind])
        else:
            self.graph["links"].append(
                {
                    "id": link_id,
                    "origin_id": origin_id,
                    "origin_slot": slot,
                    "target_id": target_id,
                    "target_slot": target_slot,
                    "type": kind,
                }
            )
        for entry in self._sockets(origin_id, slot):
            name = "linkIds" if "linkIds" in entry else "links"
            entry[name] = [*(entry.get(name) or []), link_id]

    def _sockets(self, origin_id: Any, slot: int) -> list[dict[str, Any]]:
        """The output that a link comes from; of a subgraph's own inputs, that input."""
        for node in self.graph["nodes"]:
            if node["id"] == origin_id:
                return [node["outputs"][slot]]
        entries = self.graph.get("inputs", [])
        return [entries[slot]] if slot < len(entries) else []

    def _beside(self, origin_id: Any) -> tuple[float, float]:
        """Where a node that follows ``origin_id`` would like to be."""
        for node in self.graph["nodes"]:
            if node["id"] == origin_id:
                (x, y), (width, _) = _xy(node["pos"]), _xy(node.get("size", (WIDTH_PX, 0)))
                return x + width + GAP_PX, y
        first = _xy(self.graph["nodes"][0]["pos"])
        return first[0], first[1]


def _level_of(workflow: Workflow, node_id: str) -> _Level:
    """The level at which a node lies, by its id in API format.

    Raises:
        ValueError: a subgraph on the way is missing.
    """
    graph, counters, ids = workflow, workflow, ("last_node_id", "last_link_id")
    *path, last = node_id.split(":")
    kinds = {item["id"]: item for item in workflow.get("definitions", {}).get("subgraphs", ())}
    for step in path:
        node = next((n for n in graph["nodes"] if str(n["id"]) == step), None)
        if node is None or node["type"] not in kinds:
            raise ValueError(f"the workflow has no subgraph {step} on the way to node {node_id}")
        graph = kinds[node["type"]]
        counters, ids = graph["state"], ("lastNodeId", "lastLinkId")
    return _Level(graph, counters, ids, last)


def _canvas_node(
    node_id: int, node: Node, definition: Definition, size: tuple[int, int], link_id: int
) -> dict[str, Any]:
    inputs: list[dict[str, Any]] = []
    for item in definition.inputs:
        entry: dict[str, Any] = {"name": item.name, "type": item.type, "link": None}
        if item.type == node.wire:
            entry["link"] = link_id
        if item.is_widget:
            entry["widget"] = {"name": item.name}
        if not item.is_required:
            entry["shape"] = 7
        inputs.append(entry)
    return {
        "id": node_id,
        "type": node.class_type,
        "pos": [0, 0],
        "size": list(size),
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": inputs,
        "outputs": [
            {"name": name, "type": kind, "links": []}
            for name, kind in zip(
                definition.output_names or definition.outputs, definition.outputs, strict=True
            )
        ],
        "properties": {"Node name for S&R": node.class_type},
        "widgets_values": [node.inputs[i.name] for i in definition.inputs if i.is_widget],
    }


def _size_of(definition: Definition) -> tuple[int, int]:
    widgets = sum(item.is_widget for item in definition.inputs)
    sockets = max(len(definition.inputs) - widgets, len(definition.outputs))
    return WIDTH_PX, SOCKET_PX * sockets + WIDGET_PX * widgets + GAP_PX // 2


def _free_place(
    nodes: Sequence[Mapping[str, Any]], wished: tuple[float, float], size: tuple[int, int]
) -> list[float]:
    """The place nearest to ``wished`` where a node of ``size`` covers no other, title included."""
    taken = [_box(node) for node in nodes]
    x, y = wished
    steps = range(-60, 61)
    places = [(x + 80 * i, y + 60 * j) for i in range(-12, 13) for j in steps]
    bottom = max(box[3] for box in taken) if taken else y
    places.append((x, bottom + GAP_PX + TITLE_PX))
    free = (
        place
        for place in sorted(places, key=lambda p: abs(p[0] - x) + abs(p[1] - y))
        if not any(_overlap(_frame(place, size), box) for box in taken)
    )
    best = next(free)
    return [float(best[0]), float(best[1])]


def _box(node: Mapping[str, Any]) -> tuple[float, float, float, float]:
    return _frame(_xy(node["pos"]), _xy(node.get("size", (WIDTH_PX, TITLE_PX))))


def _frame(
    place: tuple[float, float], size: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Left, top with title, right and bottom, with half a gap around."""
    margin = GAP_PX / 2
    (x, y), (width, height) = place, size
    return x - margin, y - TITLE_PX - margin, x + width + margin, y + height + margin


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _xy(value: Any) -> tuple[float, float]:
    """A position or size, which older pages save as an object with the keys 0 and 1."""
    if isinstance(value, dict):
        return float(value["0"]), float(value["1"])
    return float(value[0]), float(value[1])


def _get(link: Any, place: int, name: str) -> Any:
    return link[place] if isinstance(link, list) else link[name]


def _set(link: Any, place: int, name: str, value: Any) -> None:
    if isinstance(link, list):
        link[place] = value
    else:
        link[name] = value
