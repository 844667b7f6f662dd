"""A user's graph, measured as it is: probes on its models, a watch on all of its nodes.

The watch sees what a prompt takes as a whole, every node included that ran; the probes see how many
steps were made and which kernels ran. Both leave the pictures as they are, bit for bit.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..hosts.remote.definitions import Definitions
from ..hosts.remote.graph import BENCHMARK, PACK_PREFIX, Graph
from ..records import KernelCalls, Run
from .wiring import ends_of, fresh_id

WATCH, PROBE, COLLECT = (
    f"{PACK_PREFIX}WatchGraph",
    f"{PACK_PREFIX}ProbeModel",
    f"{PACK_PREFIX}Collect",
)
WATCH_OUTPUT = "wattbench_watch"
MAX_PROBES = 16
SHOWN_TYPES = ("IMAGE", "VIDEO", "AUDIO", "LATENT")
"""What an output node takes, in the order in which one is waited for."""


@dataclass(frozen=True)
class Instrumented:
    """A graph with its instruments; ``watch_id`` is the node that tells what the prompt took.

    It is empty for a graph that measures by itself.
    """

    graph: Graph
    watch_id: str


@dataclass(frozen=True)
class Prompt:
    """What one prompt took, as a whole and per picture.

    ``energy_j`` and ``peak_vram_bytes`` are ``None`` where nothing could measure them; ``note``
    says why. ``runs`` are what the probes saw. ``error`` says why there is nothing at all;
    ``is_dead`` that the server died meanwhile.
    """

    time_s: float | None = None
    energy_j: float | None = None
    energy_method: str = ""
    peak_vram_bytes: int | None = None
    note: str = ""
    runs: tuple[Run, ...] = ()
    pictures: tuple[Path, ...] = ()
    error: str = ""
    is_dead: bool = False

    @property
    def s_per_img(self) -> float | None:
        return None if self.time_s is None else self.time_s / max(1, len(self.pictures))

    @property
    def j_per_img(self) -> float | None:
        return None if self.energy_j is None else self.energy_j / max(1, len(self.pictures))

    @property
    def kernel_calls(self) -> tuple[KernelCalls, ...]:
        return tuple(calls for run in self.runs for calls in run.kernel_calls)


def instrumented(graph: Graph, definitions: Definitions) -> Instrumented:
    """``graph`` with a watch, and with probes where it has models and something to wait for.

    Raises:
        ValueError: the graph makes no picture, or already measures by itself.
    """
    own = sorted({n["class_type"] for n in graph.values() if _is_instrument(n["class_type"])})
    if own:
        raise ValueError(
            f"the workflow holds {', '.join(own)}: give the workflow as you use it every day; it "
            "is measured without nodes of WattBench in it"
        )
    changed = copy.deepcopy(graph)
    shown = _shown(changed, definitions)
    if shown is None:
        raise ValueError("the workflow has no output node with a picture: put in Save Image")
    probes = []
    for origin, targets in ends_of(changed, "MODEL", definitions).items():
        probe = fresh_id(changed)
        changed[probe] = _node(PROBE, {"model": list(origin), "meter": "auto"})
        for target in targets:
            changed[target.node_id]["inputs"][target.input_name] = [probe, 0]
        probes.append(probe)
    if probes:
        source, sinks = shown
        inputs = {f"probes.probe{n}": [probe, 1] for n, probe in enumerate(probes[:MAX_PROBES])}
        collect = fresh_id(changed)
        changed[collect] = _node(COLLECT, {"value": list(source), **inputs})
        for node_id, name in sinks:
            changed[node_id]["inputs"][name] = [collect, 0]
    watch = fresh_id(changed)
    changed[watch] = _node(WATCH, {"folder": "wattbench", "meter": "auto"})
    return Instrumented(changed, watch)


def measures_itself(graph: Graph) -> bool:
    """Whether nodes of the graph's own make runs of it."""
    return any(node["class_type"] in (BENCHMARK, COLLECT) for node in graph.values())


def prompt_of(history: Mapping[str, Any], watch_id: str, runs: Sequence[Run]) -> Prompt:
    """What a prompt took, from ComfyUI's history of it and the runs that it measured.

    Of a graph that measures by itself only the runs are known.
    """
    error = "; ".join(dict.fromkeys(run.error for run in runs if run.error))
    if not watch_id:
        return Prompt(runs=tuple(runs), error=error or ("" if runs else "no node measured a run"))
    outputs = history.get("outputs", {}).get(watch_id, {}).get(WATCH_OUTPUT) or [{}]
    shown = outputs[0]
    if "time_s" not in shown:
        return Prompt(runs=tuple(runs), error="the server's history has no cost of this prompt")
    return Prompt(
        time_s=shown["time_s"],
        energy_j=shown["energy_j"],
        energy_method=shown.get("method") or "",
        peak_vram_bytes=shown["peak_vram_bytes"],
        note="; ".join(shown.get("notes", ())),
        runs=tuple(runs),
        error=error,
    )


def _is_instrument(class_type: str) -> bool:
    own = ("Benchmark", "Collect", "ProbeModel", "WatchGraph")
    return class_type in {f"{PACK_PREFIX}{name}" for name in own}


def _shown(
    graph: Graph, definitions: Definitions
) -> tuple[tuple[str, int], list[tuple[str, str]]] | None:
    """The output that most of the graph lies behind, and the output nodes that take it."""
    for kind in SHOWN_TYPES:
        sinks: dict[tuple[str, int], list[tuple[str, str]]] = {}
        for node_id, node in graph.items():
            definition = definitions.get(node["class_type"])
            if definition is None or not definition.is_output_node:
                continue
            for name in definition.named(kind):
                source = node["inputs"].get(name)
                if isinstance(source, list):
                    sinks.setdefault((source[0], source[1]), []).append((node_id, name))
        if sinks:
            most = max(sinks, key=lambda source: len(_behind(graph, source[0])))
            return most, sinks[most]
    return None


def _behind(graph: Graph, node_id: str) -> set[str]:
    """A node and all that it depends on."""
    seen: set[str] = set()
    waiting = [node_id]
    while waiting:
        here = waiting.pop()
        if here in seen or here not in graph:
            continue
        seen.add(here)
        inputs = graph[here]["inputs"].values()
        waiting += [value[0] for value in inputs if isinstance(value, list) and value]
    return seen


def _node(class_type: str, inputs: dict[str, Any]) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}
