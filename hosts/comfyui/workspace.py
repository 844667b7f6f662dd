"""ComfyUI's folders, and what lies behind a node of the running prompt."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state

from ...attention.choices import Choices
from ...incoming import check_path, shown
from .host import HOST


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


def folder_in_output(folder: str) -> Path:
    """``folder`` within ComfyUI's output folder; it need not exist.

    Raises:
        ValueError: it lies outside, or is no name of a folder on every system.
    """
    root = HOST.output_folder().resolve()
    target = (root / (check_path(folder) if folder else "")).resolve()
    if not target.is_relative_to(root):
        raise ValueError(
            f"folder {shown(folder)} lies outside of ComfyUI's output folder {root}; "
            "give a name without '..' or a drive."
        )
    return target


def attention_memory() -> Choices:
    """What ``auto`` chose on this machine, in ComfyUI's user folder."""
    return Choices(Path(folder_paths.get_user_directory()) / "wattbench" / "attention.json")
