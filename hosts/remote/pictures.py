"""Which of the pictures that a prompt made are which run's: those of the same values."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ...records import Run

MISSING = "picture_file stays blank: the package that reads pictures is missing: pip install pillow"


def with_files(runs: Iterable[Run], pictures: Mapping[str, Sequence[Path]]) -> Iterator[Run]:
    """``runs`` with the file of their picture, of several of a run the first.

    A run has the SHA-256 of its pictures' values, so what a graph has saved besides, a control
    image or another run's picture, is never taken for its own.

    Args:
        pictures: of each job in the order in which they were saved; the folder of results is the
            one above theirs.
    """
    known: dict[tuple[str, int], dict[str, deque[Path]]] = {}
    for run in runs:
        key = run.job_id, (run.condition.batch_size or 1) * (run.condition.frames or 1)
        if key not in known:
            known[key] = _by_values(pictures.get(run.job_id, ()), key[1])
        own = known[key].get(run.picture.sha256 if run.picture is not None else "")
        if not own:
            yield run
            continue
        file = own.popleft()
        yield replace(run, picture_file=f"{file.parent.name}/{file.name}")


def can_read() -> bool:
    """Whether pictures can be compared with runs here."""
    return find_spec("PIL") is not None


def _by_values(files: Sequence[Path], count: int) -> dict[str, deque[Path]]:
    """By the SHA-256 of the values of so many neighbours, the first of each such neighbours."""
    found: defaultdict[str, deque[Path]] = defaultdict(deque)
    for first in range(len(files) - count + 1):
        digest = hashlib.sha256()
        for file in files[first : first + count]:
            digest.update(_values(file))
        found[digest.hexdigest()].append(files[first])
    return dict(found)


def _values(file: Path) -> bytes:
    """What a file holds once it is decoded; nothing where it is no picture."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.tobytes()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return b""
