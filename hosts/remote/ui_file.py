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
INPUT_NODE = -10
"""Within a subgraph, wires from its inputs come from here."""

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
    """A workflow, or a subgraph in it.

    ``inputs`` are the names of a subgraph's own, ``prefix`` is what ids of its nodes begin with,
    ``inner`` are the subgraphs within it, by the node that stands for each.
    """

    nodes: Mapping[Any, dict[str, Any]]
    links: tuple[_Link, ...]
    inputs: tuple[str, ...]
    prefix: str
    inner: dict[Any, _Level]


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
                for where, target, slot in _targets(level, node["id"]):
                    _place(found, where, node, target, slot)
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


def _targets(
    level: _Level, node_id: Any, output: int | None = None
) -> Iterator[tuple[_Level, dict[str, Any], int]]:
    """The nodes and inputs that a node's outputs lead to, through reroutes and into subgraphs."""
    for link in level.links:
        target = level.nodes.get(link.target)
        if link.source != node_id or target is None or output not in (None, link.source_slot):
            continue
        inner = level.inner.get(target["id"])
        if target["type"] == REROUTE:
            yield from _targets(level, target["id"])
        elif inner is None:
            yield level, target, link.target_slot
        elif target.get("mode", ALWAYS) == ALWAYS:
            name = target["inputs"][link.target_slot]["name"]
            if name not in inner.inputs:
                raise CommandError(
                    f"the subgraph of node {target['id']} has no input {name}: save the workflow "
                    "in API format"
                )
            yield from _targets(inner, INPUT_NODE, inner.inputs.index(name))


def _levels(workflow: Mapping[str, Any]) -> Iterator[_Level]:
    """The workflow and its subgraphs, each as often as a node stands for it.

    Raises:
        CommandError: a subgraph is within itself.
    """
    definitions = {
        item["id"]: item for item in (workflow.get("definitions") or {}).get("subgraphs", ())
    }

    def level_of(content: Mapping[str, Any], prefix: str, around: tuple[Any, ...]) -> _Level:
        nodes = {node["id"]: node for node in content["nodes"]}
        inner = {}
        for node in nodes.values():
            if node["type"] in around:
                raise CommandError(f"the subgraph of node {node['id']} holds itself")
            if node["type"] in definitions:
                within = (*around, node["type"])
                own = f"{prefix}{node['id']}:"
                inner[node["id"]] = level_of(definitions[node["type"]], own, within)
        links = tuple(map(_link, content.get("links") or ()))
        inputs = tuple(given.get("name", "") for given in content.get("inputs") or ())
        return _Level(nodes, links, inputs, prefix, inner)

    def walk(level: _Level) -> Iterator[_Level]:
        yield level
        for inner in level.inner.values():
            yield from walk(inner)

    return walk(level_of(workflow, "", ()))


def _link(link: Any) -> _Link:
    if isinstance(link, dict):
        return _Link(link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"])
    return _Link(*link[1:5])
