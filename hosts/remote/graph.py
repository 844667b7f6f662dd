"""Workflows in API format: what a batch changes in them between two runs."""

from __future__ import annotations

import copy
from typing import Any

Graph = dict[str, Any]

PACK_PREFIX = "WattBench"
BENCHMARK = "WattBenchBenchmark"
SEED_INPUTS = ("seed", "noise_seed")
SEED_COUNT = 2**64


def repeated(graph: Graph, repeats: int) -> list[Graph]:
    """The graphs to queue one after the other so that ``repeats`` images are measured.

    One graph where a benchmark node repeats by itself; else one for each repeat, in which every
    seed that is a number has advanced by the number of the repeat.
    """
    if repeats_itself(graph):
        return [_with_repeats(graph, repeats)]
    return [_with_seeds_advanced(graph, repeat) for repeat in range(repeats)]


def repeated_in_block(graph: Graph, repeats: int, block: int) -> list[Graph]:
    """A warm-up and ``repeats`` graphs for one of several blocks of a workflow on one server.

    Seeds that are numbers are new in every graph of every block (counted from 0): a server answers
    nodes whose inputs it has seen before from its cache.
    """
    first = block * (repeats + 1)
    return [_with_seeds_advanced(graph, first + number) for number in range(repeats + 1)]


def repeats_itself(graph: Graph) -> bool:
    """Whether a benchmark node makes warm-ups and repeats of its own."""
    return any(node["class_type"] == BENCHMARK for node in _nodes(graph))


def _nodes(graph: Graph) -> list[dict[str, Any]]:
    return [node for node in graph.values() if isinstance(node, dict) and "class_type" in node]


def _with_repeats(graph: Graph, repeats: int) -> Graph:
    changed = copy.deepcopy(graph)
    for node in _nodes(changed):
        if node["class_type"] == BENCHMARK:
            node["inputs"]["repeats"] = repeats
    return changed


def _with_seeds_advanced(graph: Graph, by: int) -> Graph:
    changed = copy.deepcopy(graph)
    for node in _nodes(changed):
        inputs = node.get("inputs", {})
        # A seed that comes over a link is advanced where it comes from.
        for name in SEED_INPUTS:
            if isinstance(inputs.get(name), int):
                inputs[name] = (inputs[name] + by) % SEED_COUNT
    return changed
