"""ComfyUI's folders, its version, and the prompt that is being executed."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import comfyui_version
import folder_paths
from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context
from server import PromptServer

from ...attention.choices import Choices
from ...measure.protocol.journal import Journal

HOST = "ComfyUI"
VISIT_VARIABLE = "WATTBENCH_VISIT"
"""Number of this server process within a batch, counted from 1."""
LOADED_AT_S = int(time.time())
"""Unix time at which this process loaded the pack."""


def host_version() -> str:
    return str(comfyui_version.__version__)


def current_prompt_id() -> str:
    """The prompt that this thread executes; empty outside of one."""
    context = get_executing_context()
    return context.prompt_id if context is not None else ""


def current_node_id() -> str:
    """The node of the user's graph that this thread executes; empty outside of one.

    For a node that another one made while the graph ran, it is that other one.
    """
    context = get_executing_context()
    prompt = get_progress_state().dynprompt
    return prompt.get_display_node_id(context.node_id) if context is not None else ""


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


def visit() -> int:
    """Which visit of a batch this process is; outside of a batch the time at which it began.

    So runs of several processes in one table are never taken for repeats within one.

    Raises:
        ValueError: the environment variable holds no number.
    """
    value = os.environ.get(VISIT_VARIABLE, str(LOADED_AT_S))
    if not value.isdecimal():
        raise ValueError(f"{VISIT_VARIABLE} must be a number like 1, it is {value!r}")
    return int(value)


def output_folder() -> Path:
    return Path(folder_paths.get_output_directory())


def folder_in_output(folder: str) -> Path:
    """``folder`` within ComfyUI's output folder; it need not exist.

    Raises:
        ValueError: it lies outside.
    """
    root = output_folder().resolve()
    target = (root / folder).resolve()
    if not target.is_relative_to(root):
        raise ValueError(
            f"folder {folder!r} lies outside of ComfyUI's output folder {root}; "
            "give a name without '..' or a drive."
        )
    return target


def attention_memory() -> Choices:
    """What ``auto`` chose on this machine, in ComfyUI's user folder."""
    return Choices(Path(folder_paths.get_user_directory()) / "wattbench" / "attention.json")


def open_journal() -> Journal:
    """The journal in the output folder, or in the user's where that cannot be written.

    ComfyUI empties its temporary folder whenever it starts or ends.

    Raises:
        OSError: neither can be written.
    """
    preferred = output_folder() / "wattbench" / "journal.jsonl"
    try:
        return Journal(preferred)
    except OSError as error:
        fallback = Path(folder_paths.get_user_directory()) / "wattbench" / "journal.jsonl"
        logging.warning("WattBench cannot write %s (%s); runs go to %s", preferred, error, fallback)
        return Journal(fallback)


def show_text(text: str) -> None:
    """Show ``text`` on the node that is being executed."""
    context = get_executing_context()
    if context is not None:
        PromptServer.instance.send_progress_text(text, context.node_id)
