"""ComfyUI's folders, and what lies behind a node of the running prompt."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import folder_paths
from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ...attention.choices import Choices
from ...incoming import below, shown
from ...records import Run
from .host import HOST

CORE_SAMPLERS = ("KSampler", "KSamplerAdvanced")

RUNS_KEY = "wattbench_runs"
"""Where a prompt's node says which runs it made."""


def nodes_behind(node_id: str) -> set[str]:
    """The nodes of the running prompt that a node's inputs come from, directly or not.

    Outside of a prompt, where a script calls nodes, all of them are the one without a name.
    """
    if not node_id:
        return {node_id}
    prompt = get_progress_state().dynprompt
    seen: set[str] = set()
    waiting = [node_id]
    while waiting:
        inputs = prompt.get_node(waiting.pop())["inputs"].values()
        sources = {value[0] for value in inputs if is_link(value)} - seen
        seen |= sources
        waiting += sources
    return seen


def name_in_pictures(runs: Sequence[Run]) -> None:
    """Let pictures that are saved from here on in the running prompt carry these runs' ids.

    They are in the text ``prompt`` that ComfyUI writes into a picture, below ``_meta`` of the node
    that is being executed: by run id the SHA-256 of its pictures' values, empty where unknown.
    """
    node_id = HOST.node_id()
    if not node_id:
        return
    entry = get_progress_state().dynprompt.get_original_prompt()[node_id]
    entry["_meta"] = {
        **entry.get("_meta", {}),
        RUNS_KEY: {run.run_id: run.picture.sha256 if run.picture else "" for run in runs},
    }


def asked_of_sampler() -> dict[str, Any]:
    """Sampler, scheduler and steps that core's sampler node being executed was asked for.

    What comes over a wire is followed to its constant. Nothing of other nodes: what their inputs
    of such names mean is theirs.
    """
    context = get_executing_context()
    if context is None:
        return {}
    prompt = get_progress_state().dynprompt
    node = prompt.get_node(context.node_id)
    if node["class_type"] not in CORE_SAMPLERS:
        return {}
    given = {name: _constant(prompt, value) for name, value in node["inputs"].items()}
    asked = {"sampler": given.get("sampler_name"), "scheduler": given.get("scheduler")}
    known: dict[str, Any] = {name: text for name, text in asked.items() if isinstance(text, str)}
    steps, start, end = (given.get(name) for name in ("steps", "start_at_step", "end_at_step"))
    if isinstance(steps, int):
        first = start if isinstance(start, int) else 0
        last = min(end, steps) if isinstance(end, int) else steps
        known["steps"] = max(0, last - first)
    return known


def prompt_texts(node_id: str) -> list[Any]:
    """Texts that the text encoders behind a node of the running prompt were given, in order.

    A text that comes over a wire is followed; what makes it stands for it where it is no constant.
    """
    if not node_id:
        return []
    prompt = get_progress_state().dynprompt
    classes = importlib.import_module("nodes").NODE_CLASS_MAPPINGS
    texts: list[Any] = []
    seen: set[str] = set()

    def visit(node_id: str) -> None:
        seen.add(node_id)
        node = prompt.get_node(node_id)
        links = {name: value for name, value in node["inputs"].items() if is_link(value)}
        for source, _ in links.values():
            if source not in seen:
                visit(source)
        known = classes[node["class_type"]].INPUT_TYPES()
        kinds = {**known.get("required", {}), **known.get("optional", {})}
        if any(kind[0] == "CLIP" for kind in kinds.values()):
            texts.extend(
                _constant(prompt, value)
                for name, value in node["inputs"].items()
                if name in kinds and kinds[name][0] == "STRING"
            )

    visit(node_id)
    return texts


def _constant(prompt: Any, value: Any) -> Any:
    """A value, or that of the node with a single input that it comes from."""
    if not is_link(value):
        return value
    node = prompt.get_node(value[0])
    inputs = {name: _constant(prompt, source) for name, source in node["inputs"].items()}
    return next(iter(inputs.values())) if len(inputs) == 1 else [node["class_type"], inputs]


def folder_in_output(folder: str) -> Path:
    """``folder`` within ComfyUI's output folder; it need not exist.

    Raises:
        ValueError: it lies outside, or is no name of a folder on every system.
    """
    root = HOST.output_folder().resolve()
    target = below(folder, root) if folder else root
    if target is None:
        raise ValueError(
            f"folder {shown(folder)} lies outside of ComfyUI's output folder {root}; "
            "give a name without '..' or a drive."
        )
    return target


def attention_memory() -> Choices:
    """What ``auto`` chose on this machine, in ComfyUI's user folder."""
    return Choices(Path(folder_paths.get_user_directory()) / "wattbench" / "attention.json")
