"""Files that are replaced: whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


def write_text(text: str, path: Path) -> Path:
    """As :func:`write_bytes`, in UTF-8, as :func:`writable` has it."""
    return write_bytes(writable(text).encode(), path)


def writable(text: str) -> str:
    """``text`` as UTF-8 can hold it.

    Half of a surrogate pair, as in the name of a file that an error tells, becomes ``\\udc80``.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def write_bytes(data: bytes, path: Path) -> Path:
    """Write a file; an existing one is replaced only by a complete one. Returns where it lies.

    That is :func:`beside` it, and a warning, where another program keeps the file open: Windows
    lets nobody replace it then.

    Raises:
        OSError: the folder cannot be made or written.
    """
    with writing(path) as file:
        file.write(data)
    return newest(path)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece, which takes the place of ``path`` at the end of the block.

    After an error there is nothing of it; see :func:`write_bytes`.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's: its files are readable by their owner alone, and stay so under the new name.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            yield file
        _put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """Where a new version of ``path`` lies that could not replace it."""
    return path.with_name(f"{path.stem} (new){path.suffix}")


def newest(path: Path) -> Path:
    """``path``, or the newer version beside it."""
    return beside(path) if beside(path).exists() else path


def _put(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except PermissionError:
        temporary.replace(beside(path))
        logging.getLogger(__name__).warning(
            "%s is open in another program and was not replaced: the new one is %s. Close it "
            "there.",
            path,
            beside(path).name,
        )
        return
    beside(path).unlink(missing_ok=True)
