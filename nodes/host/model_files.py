"""The model files that ComfyUI offers, and progress on the node that works on one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import comfy.model_management as management
import folder_paths
from comfy.utils import ProgressBar

FOLDERS = ("checkpoints", "diffusion_models")
"""ComfyUI's kinds of folders that hold diffusion models."""

SUFFIX = ".safetensors"
NO_FILE = "none"


def model_files() -> list[str]:
    """Files of diffusion models as ``kind/name``, those of other types left out."""
    return [
        f"{kind}/{name}"
        for kind in FOLDERS
        for name in folder_paths.get_filename_list(kind)
        if name.lower().endswith(SUFFIX)
    ]


def model_path(choice: str) -> Path:
    """The path of a file that :func:`model_files` names.

    Raises:
        FileNotFoundError: it is not there any more.
    """
    kind, _, name = choice.partition("/")
    if kind not in FOLDERS:
        raise FileNotFoundError(f"{choice!r} names no file; choose one of the list")
    return Path(folder_paths.get_full_path_or_raise(kind, name))


def file_name(name: str, suffix: str) -> str:
    """``name`` with ``suffix``.

    Raises:
        ValueError: it is empty or names a folder.
    """
    full = name.strip().removesuffix(suffix) + suffix
    if full == suffix or Path(full).name != full:
        raise ValueError(f"{name!r} must be the name of a file, without a folder")
    return full


def shown_progress() -> Callable[[int, int], None]:
    """A function that shows how much is done on the node, and raises when the user cancels."""
    bar = ProgressBar(1)

    def show(done: int, total: int) -> None:
        management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return show
