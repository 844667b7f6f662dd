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
    if any(node["class_type"] == BENCHMARK for node in _nodes(graph)):
        return [_with_repeats(graph, repeats)]
    return [_with_seeds_advanced(graph, repeat) for repeat in range(repeats)]


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
