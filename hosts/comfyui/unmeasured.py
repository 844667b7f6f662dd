"""Work behind a collected value that no probe saw: which nodes did it, and for how long."""

from __future__ import annotations

import importlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state

from ...measure.graph.costs import GraphNode
from ...measure.graph.log import NodeLog
from ...measure.recording.runs import LEAST_SHARE
from .progress import follow_prompt, follower_of
from .workspace import VALUES, type_of, types_of

NAME = "wattbench_collect"

SETTINGS = VALUES | {
    *("MODEL", "CLIP", "VAE", "CLIP_VISION", "CONTROL_NET", "STYLE_MODEL", "UPSCALE_MODEL"),
    *("GLIGEN", "PHOTOMAKER", "LORA_MODEL", "MODEL_PATCH", "AUDIO_ENCODER"),
    *("GUIDER", "SAMPLER", "SIGMAS", "NOISE", "HOOKS", "HOOK_KEYFRAMES", "TIMESTEPS_RANGE"),
    *("WATTBENCH_PROBE", "WATTBENCH_RUNS", "WATTBENCH_FORECAST"),
}
"""Types of what a picture is made with, not of. A node that gives nothing else loads or sets."""

CORE_SAMPLERS = {
    *("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"),
    "WattBenchKSampler",
}
"""Nodes that do nothing beside their sampling. Another pack's may encode, upscale and decode."""


class NodeTimes:
    """Which node of a prompt had each moment since the prompt began, on the host's clock."""

    def __init__(self) -> None:
        self.shown: dict[str, Any] = {}
        self.log = NodeLog()

    def started(self, node_id: str) -> None:
        self.log.start(node_id, time.perf_counter())

    def finished(self, node_id: str) -> None:
        self.log.finish(node_id, time.perf_counter())

    def missed(self, node_id: str) -> None:
        self.log.missed.add(node_id)

    def ended(self, prompt_id: str, nodes: list[GraphNode]) -> None:
        """Nobody is left to tell."""


def follow_nodes() -> None:
    """Time the nodes of the prompt that is about to be executed by this thread."""
    if get_progress_state().dynprompt is not None:
        follow_prompt(NodeTimes, name=NAME)


def unmeasured(
    behind: Iterable[str], measured_s: Mapping[str, float], compute_s: float
) -> list[tuple[str, float | None]]:
    """Nodes that did work which no probe saw, with their seconds, the longest first.

    ``None`` are the seconds of a node that ran before anybody looked. Where all of them together
    are less than :data:`LEAST_SHARE` of what was measured, the list is empty; so it is outside of a
    prompt.

    Args:
        behind: nodes that the collected value comes from.
        measured_s: seconds that probes took up within nodes, by node.
        compute_s: what was measured of encoding, denoising and decoding.
    """
    times = follower_of(NAME)
    if not isinstance(times, NodeTimes):
        return []
    prompt = get_progress_state().dynprompt
    classes = importlib.import_module("nodes").NODE_CLASS_MAPPINGS
    seconds: Counter[str] = Counter()
    for piece in times.log.pieces(time.perf_counter()):
        seconds[prompt.get_display_node_id(piece.node_id)] += piece.end - piece.start
    found: list[tuple[str, float | None]] = []
    for node_id in behind:
        node = prompt.get_node(node_id)
        kind = node["class_type"]
        if node_id in measured_s:
            if kind not in CORE_SAMPLERS and not kind.startswith("WattBench"):
                found.append((f"the rest of {kind}", seconds[node_id] - measured_s[node_id]))
        elif _works(node, prompt, classes):
            if node_id in times.log.missed:
                found.append((kind, None))
            elif seconds[node_id]:
                found.append((kind, seconds[node_id]))
    total_s = sum(second or 0.0 for _, second in found)
    if total_s <= LEAST_SHARE * compute_s and all(second is not None for _, second in found):
        return []
    return sorted(found, key=lambda item: -(item[1] or 0.0))


def _works(node: dict[str, Any], prompt: Any, classes: Mapping[str, Any]) -> bool:
    """Whether a node makes something of what others made. Files and blanks come from nothing."""
    outputs = types_of(classes[node["class_type"]])
    inputs = {type_of(prompt, value) for value in node["inputs"].values() if is_link(value)}
    if outputs <= SETTINGS or inputs <= VALUES:
        return False
    return (outputs | inputs) - VALUES != {"CONDITIONING"}
