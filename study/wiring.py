"""Putting nodes into the wires of a graph in API format, without changing anything else of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..hosts.remote.definitions import Definitions
from ..hosts.remote.graph import Graph
from .levers import LEVERS, LeverKind
from .search import Settings

WIRES = {"model": "MODEL", "vae": "VAE"}
"""Type of the wire that a lever's node is put into, by its place."""


@dataclass(frozen=True)
class Node:
    """A node to put into a wire: ``inputs`` are its widgets, ``wire`` the type it passes on."""

    class_type: str
    wire: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """An input at the end of a wire: where a model is sampled with, or a VAE decodes."""

    node_id: str
    input_name: str


def nodes_of(settings: Settings, definitions: Definitions) -> list[Node]:
    """The nodes that carry ``settings``, in the order in which they follow each other.

    Raises:
        ValueError: the server lacks one of them.
    """
    chosen = dict(settings)
    return [
        _node(lever, chosen[lever.name], definitions)
        for lever in LEVERS
        if lever.name in chosen and lever.place != "server"
    ]


def _node(lever: LeverKind, level: str, definitions: Definitions) -> Node:
    if lever.class_type not in definitions:
        raise ValueError(
            f"the server has no node {lever.class_type}, which sets {lever.name}: is this version "
            "of WattBench installed there?"
        )
    inputs = {**definitions[lever.class_type].defaults(), **lever.inputs}
    if lever.setting:
        inputs[lever.setting] = level
    return Node(lever.class_type, WIRES[lever.place], inputs)


def ends_of(
    graph: Graph, wire: str, definitions: Definitions
) -> dict[tuple[str, int], list[Target]]:
    """Where the wires of a type end, by the output that they come from.

    A wire ends at a node that does not pass its type on: a sampler, a guider, a scheduler, a VAE
    decoder. Loaders of LoRAs and other patches lie before the end.
    """
    ends: dict[tuple[str, int], list[Target]] = {}
    for node_id, node in graph.items():
        definition = definitions.get(node.get("class_type", ""))
        if definition is None or wire in definition.outputs:
            continue
        for name in definition.named(wire):
            source = node["inputs"].get(name)
            if isinstance(source, list) and len(source) == 2:
                ends.setdefault((str(source[0]), source[1]), []).append(Target(node_id, name))
    return ends


def put_in(graph: Graph, nodes: Sequence[Node], definitions: Definitions) -> Graph:
    """A copy of ``graph`` with ``nodes`` in every wire of their type, before its end.

    Raises:
        ValueError: no wire of a node's type ends in the graph.
    """
    changed = copy.deepcopy(graph)
    for node in nodes:
        ends = ends_of(changed, node.wire, definitions)
        if not ends:
            raise ValueError(
                f"{node.class_type} has no place in this workflow: no {node.wire} wire ends in it"
            )
        (socket,) = definitions[node.class_type].named(node.wire)
        output = definitions[node.class_type].outputs.index(node.wire)
        for (source, slot), targets in ends.items():
            new_id = fresh_id(changed)
            changed[new_id] = {
                "class_type": node.class_type,
                "inputs": {**node.inputs, socket: [source, slot]},
                "_meta": {"title": node.class_type},
            }
            for target in targets:
                changed[target.node_id]["inputs"][target.input_name] = [new_id, output]
    return changed


def fresh_id(graph: Graph) -> str:
    """An id that no node of ``graph`` has."""
    numbers = [int(node_id.split(":")[0]) for node_id in graph if node_id.split(":")[0].isdecimal()]
    number = max(numbers, default=0) + 1
    while str(number) in graph:
        number += 1
    return str(number)
