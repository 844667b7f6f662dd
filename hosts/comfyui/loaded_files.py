"""Which file a model, text encoder or VAE was loaded from: names alone may be another file's."""

from __future__ import annotations

from typing import Any

from ...measure.recording.model_file import mark_of_files


def file_of(patcher: Any) -> str:
    """The path of the first file that a ModelPatcher was loaded from; empty where none is known."""
    return next(iter(_paths(patcher)), "")


def mark_of(patcher: Any) -> str:
    """Of each of its files, by :func:`.mark_of_files`; empty where one is unknown or gone."""
    return mark_of_files(_paths(patcher))


def _paths(patcher: Any) -> list[str]:
    loader = patcher.cached_patcher_init
    source = loader[1][0] if loader is not None and loader[1] else ""
    sources = source if isinstance(source, (list, tuple)) else [source]
    return [path for path in sources if isinstance(path, str) and path]
