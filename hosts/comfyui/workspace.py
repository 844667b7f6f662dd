"""ComfyUI's folders, and what lies behind a node of the running prompt."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import folder_paths
from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ...attention.choices import Choices
from ...incoming import below, shown
from ...records import Run, short_hash
from .host import HOST

CORE_SAMPLERS = ("KSampler", "KSamplerAdvanced")

PATCHED = {"MODEL", "CLIP", "VAE", "CONDITIONING", "CONTROL_NET", "HOOKS"}
"""What nodes take, change, and give on."""

LOADED = {"CONTROL_NET", "UPSCALE_MODEL", "CLIP_VISION", "STYLE_MODEL", "GLIGEN", "PHOTOMAKER"}
LOADED |= {"MODEL_PATCH", "LORA_MODEL", "AUDIO_ENCODER"}
"""What else nodes load from files that they name."""

MOST_CHARACTERS = 60
"""A longer setting is told by its hash."""

VALUES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}

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

    What comes over a wire is followed to its constant; what another node computes is not known
    here. Nothing of other nodes: what their inputs of such names mean is theirs.
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
    texts: list[Any] = []
    for prompt, node, kind in _behind_in_order(node_id):
        known = kind.INPUT_TYPES()
        kinds = {**known.get("required", {}), **known.get("optional", {})}
        if any(kind[0] == "CLIP" for kind in kinds.values()):
            texts.extend(
                _constant(prompt, value)
                for name, value in node["inputs"].items()
                if name in kinds and kinds[name][0] == "STRING"
            )
    return texts


def settings_behind(node_id: str) -> str:
    """What nodes behind one of the running prompt were set to that change what is sampled, and how.

    As ``FreeU_V2 b1 1.3 b2 1.4``: nodes that patch a model, a text encoder or a conditioning
    (LoRAs and their strengths among them), that load a ControlNet or the like, samplers with
    options, noise levels, a denoise below 1. Two strengths are two conditions. Seeds are left out.
    """
    found = []
    for prompt, node, kind in _behind_in_order(node_id):
        name, given = node["class_type"], types_of(kind)
        taken = {type_of(prompt, value) for value in node["inputs"].values() if is_link(value)}
        is_patch = not name.startswith("WattBench") and bool(PATCHED & given & taken)
        loads = bool(LOADED & given) and not taken - VALUES
        if is_patch or loads or ({"SAMPLER", "SIGMAS"} & given and name != "KSamplerSelect"):
            found.append(" ".join((name, *_settings(prompt, node))))
        denoise = _constant(prompt, node["inputs"].get("denoise", 1.0))
        if name.removeprefix("WattBench") in CORE_SAMPLERS and denoise != 1.0:
            found.append(f"denoise {denoise}".replace(", ", " "))
    return ", ".join(dict.fromkeys(found))


def _settings(prompt: Any, node: dict[str, Any]) -> Iterator[str]:
    for name, value in node["inputs"].items():
        if "seed" in name or (is_link(value) and type_of(prompt, value) not in VALUES):
            continue
        text = str(_constant(prompt, value)).replace(", ", " ")
        yield f"{name} {text if len(text) <= MOST_CHARACTERS else short_hash(text)}"


def _behind_in_order(node_id: str) -> Iterator[tuple[Any, dict[str, Any], Any]]:
    """The running prompt, a node behind this one or itself, and its class; sources first."""
    if not node_id:
        return
    prompt = get_progress_state().dynprompt
    seen: set[str] = set()

    def visit(node_id: str) -> Iterator[tuple[Any, dict[str, Any], Any]]:
        seen.add(node_id)
        node = prompt.get_node(node_id)
        for value in node["inputs"].values():
            if is_link(value) and value[0] not in seen:
                yield from visit(value[0])
        yield prompt, node, _class_of(node)

    yield from visit(node_id)


def _class_of(node: dict[str, Any]) -> Any:
    return importlib.import_module("nodes").NODE_CLASS_MAPPINGS[node["class_type"]]


def types_of(kind: Any) -> set[str]:
    """What a class of nodes gives."""
    return {str(getattr(name, "value", name)) for name in kind.RETURN_TYPES}


def type_of(prompt: Any, link: Any) -> str:
    """The type of a value that comes over a wire; of outputs that are made as needed, any."""
    names = _class_of(prompt.get_node(link[0])).RETURN_TYPES
    name = names[link[1]] if link[1] < len(names) else "*"
    return str(getattr(name, "value", name))


def _constant(prompt: Any, value: Any) -> Any:
    """A value, or that of the node that holds one and gives it on, as core's primitives do.

    Of any other node what it is and was given: what it makes of that is its own.
    """
    if not is_link(value):
        return value
    node = prompt.get_node(value[0])
    inputs = {name: _constant(prompt, source) for name, source in node["inputs"].items()}
    makes_lists = any(getattr(_class_of(node), "OUTPUT_IS_LIST", None) or ())
    holds = list(inputs) == ["value"] and not makes_lists
    return inputs["value"] if holds else [node["class_type"], inputs]


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
