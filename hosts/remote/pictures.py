"""Pictures that a prompt made: fetched, and each joined to its run, that of the same values."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain
from itertools import count as numbers
from pathlib import Path

from ...records import Run
from .client import ComfyClient
from .comfy_run import Job

MISSING = "picture_file stays blank: the package that reads pictures is missing: pip install pillow"


def fetch_pictures(client: ComfyClient, job: Job, folder: Path, prefix: str) -> list[Path]:
    """Copy the pictures that a job reported; their names are ``prefix`` and a number.

    Those of earlier batches stay: a name that is taken gets one more number.
    """
    pictures = [output for output in job.outputs if output["category"] == "images"]
    paths = []
    for number, picture in enumerate(pictures, 1):
        folder.mkdir(exist_ok=True)
        ending = Path(picture["filename"]).suffix
        names = (
            f"{prefix}_{number:03}{again}{ending}"
            for again in chain([""], map("_{}".format, numbers(2)))
        )
        path = next(folder / name for name in names if not (folder / name).exists())
        path.write_bytes(client.view(picture["filename"], picture["subfolder"], picture["type"]))
        paths.append(path)
    return paths


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
