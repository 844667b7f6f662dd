"""Workflows in API format: what a batch changes in them between two runs."""

from __future__ import annotations

import copy
from typing import Any

from ...errors import UsageError

Graph = dict[str, Any]

PACK_PREFIX = "WattBench"
BENCHMARK = "WattBenchBenchmark"
NOISE_SEED = "noise_seed"
SEED_INPUTS = ("seed", NOISE_SEED)
SEED_COUNT = 2**64


def repeated(graph: Graph, repeats: int) -> list[Graph]:
    """The graphs to queue one after the other so that ``repeats`` images are measured.

    One graph where a benchmark node repeats by itself; else one for each repeat, in which the seeds
    of its noise have advanced by the number of the repeat.

    Raises:
        UsageError: a seed comes from a node whose number cannot be told.
    """
    if repeats_itself(graph):
        return [_with_repeats(graph, repeats)]
    return [_with_seeds_advanced(graph, repeat) for repeat in range(repeats)]


def repeated_in_block(graph: Graph, repeats: int, block: int, warmups: int = 1) -> list[Graph]:
    """Warm-ups and ``repeats`` graphs for one of several blocks of a workflow on one server.

    Seeds are new in every graph of every block (counted from 0): a server answers nodes whose
    inputs it has seen before from its cache. A graph that repeats by itself is a single one.
    """
    count = repeats + warmups
    if not repeats_itself(graph):
        return [_with_seeds_advanced(graph, block * count + number) for number in range(count)]
    changed = _with_repeats(_with_seeds_advanced(graph, block * count), repeats)
    for node in _nodes(changed):
        if node["class_type"] == BENCHMARK:
            node["inputs"]["warmup_runs"] = warmups
    return [changed]


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
    """The graph with other noise, and nothing else than its noise.

    A seed is one of noise where its node takes something over a wire, or calls it so: the seed of
    a model with random weights stays. One that comes over a wire is followed to its number, which
    is put into the node itself, so that what else hangs on that wire stays as it is.

    Raises:
        UsageError: a seed comes from a node whose number cannot be told.
    """
    changed = copy.deepcopy(graph)
    for node_id, node in changed.items():
        inputs = node.get("inputs", {}) if isinstance(node, dict) else {}
        for name in SEED_INPUTS:
            if name in inputs and (name == NOISE_SEED or any(map(_is_link, inputs.values()))):
                seed = _number(graph, inputs[name], f"{name} of node {node_id}")
                inputs[name] = (seed + by) % SEED_COUNT
    return changed


def _number(graph: Graph, value: Any, what: str) -> int:
    """The number that an input has, or that the node at the end of its wire holds."""
    seen: set[str] = set()
    while _is_link(value):
        source = str(value[0])
        inputs = graph.get(source, {}).get("inputs", {})
        links = [given for given in inputs.values() if _is_link(given)]
        numbers = [given for given in inputs.values() if _is_number(given)]
        if source in seen or len(links) + len(numbers) != 1:
            raise UsageError(
                f"{what} comes from node {source} ({graph.get(source, {}).get('class_type')}), "
                "whose number is not known before it runs, so that --repeats cannot change it. "
                "Type the seed in the node itself"
            )
        seen.add(source)
        value = [*links, *numbers][0]
    if not _is_number(value) or value < 0:
        raise UsageError(
            f"{what} is {value!r}, which --repeats cannot count on from. Type a number from 0 on"
        )
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_number(value[1])
