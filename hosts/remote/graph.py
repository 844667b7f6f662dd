"""Workflows in API format: what a batch changes in them between two runs."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import UsageError
from ...records import Run
from .definitions import Definition, Definitions

Graph = dict[str, Any]

PACK_PREFIX = "WattBench"
BENCHMARK = "WattBenchBenchmark"
NOISE_SEED = "noise_seed"
SEED_INPUTS = ("seed", NOISE_SEED)
SEED_COUNT = 2**64

NOT_NOISE = {
    *("MODEL", "CLIP", "VAE", "CLIP_VISION", "CONTROL_NET", "CONDITIONING"),
    *("STRING", "INT", "FLOAT", "BOOLEAN", "COMBO"),
}
"""A node with a seed that gives nothing else draws weights, texts or numbers, and no picture."""

NUMBER_NODES = {"PrimitiveInt": "value", "SeedNode": "seed"}
"""Core's nodes that give a number as it is, and the input that has it."""

REROUTE = "Reroute"
SUM, SUM_TERM, SUM_TEXT, SUM_OUTPUT = "ComfyMathExpression", "values.a", "expression", 1
"""Core's node that adds to a number that another node gives."""


def repeated(graph: Graph, repeats: int, definitions: Definitions) -> list[Graph]:
    """The graphs to queue one after the other so that ``repeats`` images are measured.

    One graph where a benchmark node repeats by itself; else one for each repeat, in which the seeds
    of its noise have advanced by the number of the repeat.

    Args:
        definitions: the node classes of the server that they are for.

    Raises:
        UsageError: a seed comes from a node whose number cannot be told.
    """
    if repeats_itself(graph):
        return [_with_repeats(graph, repeats)]
    return [_with_seeds_advanced(graph, repeat, definitions) for repeat in range(repeats)]


def repeated_in_block(
    graph: Graph, repeats: int, block: int, definitions: Definitions, warmups: int = 1
) -> list[Graph]:
    """Warm-ups and ``repeats`` graphs for one of several blocks of a workflow on one server.

    Seeds are new in every graph of every block (counted from 0): a server answers nodes whose
    inputs it has seen before from its cache. A graph that repeats by itself is a single one.
    """
    count = repeats + warmups
    if not repeats_itself(graph):
        return [
            _with_seeds_advanced(graph, block * count + number, definitions)
            for number in range(count)
        ]
    changed = _with_repeats(_with_seeds_advanced(graph, block * count, definitions), repeats)
    for node in _nodes(changed):
        if node["class_type"] == BENCHMARK:
            node["inputs"]["warmup_runs"] = warmups
    return [changed]


def repeats_itself(graph: Graph) -> bool:
    """Whether a benchmark node makes warm-ups and repeats of its own."""
    return any(node["class_type"] == BENCHMARK for node in _nodes(graph))


def too_few(graphs: Sequence[Graph], runs: Sequence[Run]) -> str:
    """How many runs were measured of how many, and why not all; empty where all were.

    A graph that does not repeat by itself gives as many as the one of them that gave most.
    """
    repeats = [run for run in runs if not run.is_warmup]
    made = [run for run in repeats if not run.error]
    most = max(Counter(run.job_id for run in repeats).values(), default=1)
    asked = sum(_own_repeats(graph) or most for graph in graphs)
    if len(made) >= asked:
        return ""
    why = dict.fromkeys(f"one failed: {run.error}" for run in repeats if run.error)
    if len(repeats) < asked:
        why["others came from ComfyUI's cache, or no node that measures has run in them"] = None
    return f"{len(made)} of {asked} runs ({'; '.join(why)})"


def _own_repeats(graph: Graph) -> int:
    """How many runs the benchmark nodes of a graph are asked for; a number on a wire is one."""
    asked = [node["inputs"].get("repeats") for node in _nodes(graph) if _is_benchmark(node)]
    return sum(number if _is_number(number) else 1 for number in asked)


def _nodes(graph: Graph) -> list[dict[str, Any]]:
    return [node for node in graph.values() if isinstance(node, dict) and "class_type" in node]


def _is_benchmark(node: dict[str, Any]) -> bool:
    return bool(node["class_type"] == BENCHMARK)


def _with_repeats(graph: Graph, repeats: int) -> Graph:
    changed = copy.deepcopy(graph)
    for node in filter(_is_benchmark, _nodes(changed)):
        node["inputs"]["repeats"] = repeats
    return changed


def _with_seeds_advanced(graph: Graph, by: int, definitions: Definitions) -> Graph:
    """The graph with other noise, and nothing else than its noise.

    A seed that comes over a wire is followed to its number, which is put into the node itself, so
    that what else hangs on that wire stays as it is. Where another node makes the number, or
    several, the server adds to what that node gives.

    Raises:
        UsageError: a seed comes from a node whose number cannot be told.
    """
    changed = copy.deepcopy(graph)
    for node_id, node in graph.items():
        if not isinstance(node, dict) or "class_type" not in node:
            continue
        definition = definitions.get(node["class_type"])
        for name, maximum in _noise_seeds(node, definition):
            what, given = f"{name} of node {node_id}", node["inputs"][name]
            number = _number(graph, given)
            if number is not None:
                if number < 0:
                    raise UsageError(
                        f"{what} is {number}, which --repeats cannot count on from. Type a number "
                        "from 0 on"
                    )
                changed[node_id]["inputs"][name] = (number + by) % (maximum + 1)
            elif SUM in definitions and _is_link(given):
                if by:
                    changed[node_id]["inputs"][name] = _added(changed, given, by)
            else:
                raise UsageError(f"{what} {_unknown(graph, given)}")
    return changed


def _noise_seeds(node: dict[str, Any], definition: Definition | None) -> Iterator[tuple[str, int]]:
    """The inputs of a node that are seeds of noise, each with its largest number.

    Those are of a node that samples, or gives noise: it takes something over a wire, or gives
    ``NOISE`` or ``LATENT``, and what it gives is not only weights, texts or numbers. So the seed of
    a model with random weights stays, and that of a wildcard in a prompt.
    """
    inputs = node.get("inputs", {})
    known = {item.name: item for item in definition.inputs} if definition else {}
    drawn = [name for name, item in known.items() if item.is_drawn and "seed" in name]
    outputs = set(definition.outputs) if definition else set()
    is_wired = any(_is_link(value) for name, value in inputs.items() if name not in SEED_INPUTS)
    makes_noise = bool(outputs & {"NOISE", "LATENT"}) or is_wired
    if outputs and outputs <= NOT_NOISE:
        makes_noise = False
    for name in dict.fromkeys((*SEED_INPUTS, *drawn)):
        if name in inputs and (name == NOISE_SEED or makes_noise):
            maximum = known[name].maximum if name in known else None
            yield name, SEED_COUNT - 1 if maximum is None else maximum


def _number(graph: Graph, value: Any) -> int | None:
    """The number of an input, also over a wire from a node that holds it; else ``None``."""
    seen: set[str] = set()
    while _is_link(value):
        source = graph.get(str(value[0]), {})
        kind, inputs = source.get("class_type"), source.get("inputs", {})
        links = [given for given in inputs.values() if _is_link(given)]
        if str(value[0]) in seen:
            return None
        seen.add(str(value[0]))
        if kind in NUMBER_NODES:
            value = inputs.get(NUMBER_NODES[kind])
        elif kind == REROUTE and len(links) == len(inputs) == 1:
            value = links[0]
        else:
            return None
    # The server takes these for whole numbers, too.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return int(value)
    return int(value) if _is_number(value) else None


def _added(graph: Graph, link: list[Any], by: int) -> list[Any]:
    """A wire on which is ``by`` more than on ``link``; ``graph`` gains the node that adds."""
    node_id = f"{link[0]}:{link[1]}+{by}"
    inputs = {SUM_TEXT: f"a + {by}", SUM_TERM: list(link)}
    graph[node_id] = {"class_type": SUM, "inputs": inputs, "_meta": {"title": SUM}}
    return [node_id, SUM_OUTPUT]


def _unknown(graph: Graph, given: Any) -> str:
    if not _is_link(given):
        return f"is {given!r}, which --repeats cannot count on from. Type a number from 0 on"
    return (
        f"comes from node {given[0]} ({graph.get(str(given[0]), {}).get('class_type')}), whose "
        "number is not known before it runs, so that --repeats cannot change it: this ComfyUI has "
        f"no {SUM}. Type the seed in the node itself"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_number(value[1])
