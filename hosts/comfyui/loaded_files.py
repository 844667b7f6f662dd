"""Which file a model, text encoder or VAE was loaded from: names alone may be another file's."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

BLOCK_COUNT, BLOCK_BYTES = 256, 4096
"""So many blocks, evenly over the file, tell it from others: reading all of it takes long."""


def file_of(patcher: Any) -> str:
    """The path of the first file that a ModelPatcher was loaded from; empty where none is known."""
    return next(iter(_paths(patcher)), "")


def mark_of(patcher: Any) -> str:
    """Eight hexadecimal digits for each of the files; empty where one is unknown or gone.

    Of its size and of 1 MiB taken evenly from it: a copy elsewhere has the same.
    """
    marks = []
    for path in _paths(patcher):
        try:
            stat = Path(path).stat()
            marks.append(_mark(path, stat.st_size, stat.st_mtime_ns))
        except OSError:
            return ""
    return " ".join(marks)


def _paths(patcher: Any) -> list[str]:
    loader = patcher.cached_patcher_init
    source = loader[1][0] if loader is not None and loader[1] else ""
    sources = source if isinstance(source, (list, tuple)) else [source]
    return [path for path in sources if isinstance(path, str) and path]


@lru_cache(64)
def _mark(path: str, size_bytes: int, _mtime_ns: int) -> str:
    digest = hashlib.sha256(str(size_bytes).encode())
    with Path(path).open("rb") as file:
        for number in range(BLOCK_COUNT):
            file.seek(number * max(0, size_bytes - BLOCK_BYTES) // (BLOCK_COUNT - 1))
            digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()[:8]
