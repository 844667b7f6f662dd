"""A workflow file in UI format beside what it was converted to: what is lost is put back.

comfy-cli leaves out values that a primitive node holds for an input of another node.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import CommandError
from .graph import Graph

PRIMITIVE, REROUTE = "PrimitiveNode", "Reroute"
ALWAYS = 0
"""A node's ``mode`` where it is neither muted nor bypassed."""


@dataclass(frozen=True)
class _Link:
    source: Any
    source_slot: int
    target: Any
    target_slot: int


@dataclass(frozen=True)
class _Level:
    """A workflow, or a subgraph in it; ``prefix`` is what ids of its nodes begin with."""

    nodes: Mapping[Any, dict[str, Any]]
    links: tuple[_Link, ...]
    prefix: str


def is_ui_format(workflow: Any) -> bool:
    """Whether a file's JSON is as the page saves it."""
    return isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list)


def checked(graph: Graph, workflow: Mapping[str, Any]) -> Graph:
    """``graph``, converted from a UI file, with the values of its primitive nodes.

    Raises:
        CommandError: a value has no place in the graph, or a wire of the file is not in it.
    """
    found = copy.deepcopy(graph)
    for level in _levels(workflow):
        for node in level.nodes.values():
            if node["type"] == PRIMITIVE and node.get("mode", ALWAYS) == ALWAYS:
                for target, slot in _targets(level, node["id"]):
                    _place(found, level, node, target, slot)
        for link in level.links:
            _check_link(found, level, link)
    return found


def _place(
    graph: Graph, level: _Level, primitive: Mapping[str, Any], target: Mapping[str, Any], slot: int
) -> None:
    if target.get("mode", ALWAYS) != ALWAYS:
        return
    name, values = target["inputs"][slot]["name"], primitive.get("widgets_values") or []
    entry = graph.get(f"{level.prefix}{target['id']}")
    if entry is None or not values:
        raise CommandError(
            f"the value of the primitive node {primitive['id']} for {name} of node {target['id']} "
            f"({target['type']}) cannot be told from the file: save the workflow in API format, or "
            "type the value in the node itself"
        )
    entry["inputs"][name] = values[0]


def _check_link(graph: Graph, level: _Level, link: _Link) -> None:
    """A wire between two nodes that are both in the graph must be there too."""
    source, target = level.nodes.get(link.source), level.nodes.get(link.target)
    entries = (graph.get(f"{level.prefix}{end}") for end in (link.source, link.target))
    if source is None or target is None or None in (known := list(entries)):
        return
    name = target["inputs"][link.target_slot]["name"]
    expected = [f"{level.prefix}{link.source}", link.source_slot]
    inputs = known[1]["inputs"] if known[1] is not None else {}
    if inputs.get(name) != expected:
        raise CommandError(
            f"the file was not converted as it is: {name} of node {target['id']} "
            f"({target['type']}) comes from node {source['id']} ({source['type']}) in the file and "
            f"is {inputs.get(name)!r} in the graph. Save the workflow in API format"
        )


def _targets(level: _Level, node_id: Any) -> Iterator[tuple[dict[str, Any], int]]:
    """The nodes and inputs that a node's outputs lead to, through reroutes."""
    for link in level.links:
        target = level.nodes.get(link.target)
        if link.source == node_id and target is not None:
            if target["type"] == REROUTE:
                yield from _targets(level, target["id"])
            else:
                yield target, link.target_slot


def _levels(workflow: Mapping[str, Any]) -> Iterator[_Level]:
    definitions = {
        item["id"]: item for item in (workflow.get("definitions") or {}).get("subgraphs", ())
    }

    def walk(content: Mapping[str, Any], prefix: str) -> Iterator[_Level]:
        nodes = {node["id"]: node for node in content["nodes"]}
        yield _Level(nodes, tuple(map(_link, content.get("links") or ())), prefix)
        for node in nodes.values():
            if node["type"] in definitions:
                yield from walk(definitions[node["type"]], f"{prefix}{node['id']}:")

    return walk(workflow, "")


def _link(link: Any) -> _Link:
    if isinstance(link, dict):
        return _Link(link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"])
    return _Link(*link[1:5])
