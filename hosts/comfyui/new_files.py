"""Names of files that nodes write, and progress on the node that writes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import comfy.model_management as management
from comfy.utils import ProgressBar

from ...incoming import check_name, shown


def file_name(name: str, suffix: str) -> str:
    """``name`` with ``suffix``.

    Raises:
        ValueError: it is empty, names a folder, or is no name on every system.
    """
    full = name.strip().removesuffix(suffix) + suffix
    if full == suffix or Path(full).name != full:
        raise ValueError(f"{shown(name)} must be the name of a file, without a folder")
    return check_name(full)


def shown_progress() -> Callable[[int, int], None]:
    """A function that shows how much is done on the node, and raises when the user cancels."""
    bar = ProgressBar(1)

    def show(done: int, total: int) -> None:
        management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return show
