"""One safetensors file made of another, tensor by tensor, in little memory and all or nothing.

The tensors go through :mod:`.pipeline`. The new file has another name until it is whole and on the
disk: who finds ``NAME.partial`` finds what a killed run left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .files import TensorFile, header_of, torch_dtype
from .pipeline import Change, Progress, convert_all

PARTIAL = ".partial"
DIGEST_PLACE = "0" * 64
"""Stands in the metadata where :func:`write_converted` puts the source's SHA-256."""


def write_converted(
    source: TensorFile,
    changes: Sequence[Change],
    target: Path,
    metadata: Mapping[str, str],
    progress: Progress,
) -> str:
    """Write ``target``; returns the SHA-256 of the source, which was read whole on the way.

    Args:
        changes: one for each tensor of the source, in the order of the source.
        metadata: of the new file; :data:`DIGEST_PLACE` in it becomes the source's SHA-256.

    Raises:
        FileExistsError: ``target`` exists, when this begins or when it ends.
        FileError: a tensor did not become what ``changes`` say.
        OSError: there is no room for ``target``, or it cannot be written.
    """
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; give another name, or remove it first")
    # Types of wide elements first: so every tensor begins at a multiple of its element's size.
    layout = sorted(
        ((name, stored) for change in changes for name, stored in change.stored.items()),
        key=lambda item: -torch_dtype(item[1].dtype).itemsize,
    )
    shapes = {name: (stored.dtype, stored.shape, stored.nbytes) for name, stored in layout}
    header = header_of(shapes, metadata)
    starts, end = {}, len(header)
    for name, stored in layout:
        starts[name], end = end, end + stored.nbytes
    check_room(target, end)
    partial = target.with_name(target.name + PARTIAL)
    with _new(partial), partial.open("r+b", buffering=0) as file:
        file.truncate(end)
        digest = convert_all(source, changes, file, starts, progress)
        file.seek(0)
        file.write(header_of(shapes, _with_digest(metadata, digest)))
        os.fsync(file.fileno())
    publish(partial, target)
    return digest


@contextmanager
def _new(partial: Path) -> Iterator[None]:
    """An empty file, which is removed if the block is left by an exception.

    Raises:
        FileExistsError: it exists.
    """
    try:
        partial.touch(exist_ok=False)
    except FileExistsError as error:
        raise FileExistsError(
            f"{partial} exists: another run makes this file now, or one was killed. "
            "In the second case remove it."
        ) from error
    with ExitStack() as undo:
        undo.callback(partial.unlink)
        yield
        undo.pop_all()


def publish(partial: Path, target: Path) -> None:
    """Give a file that is whole its name.

    Raises:
        FileExistsError: ``target`` came into being meanwhile; ``partial`` is removed.
    """
    if os.path.lexists(target):
        partial.unlink()
        raise FileExistsError(f"{target} was made by another program meanwhile; it is left as is")
    partial.replace(target)


def check_room(target: Path, needed_bytes: int) -> None:
    """Refuse a file of ``needed_bytes`` that does not fit on its disk.

    Raises:
        FileNotFoundError: there is no such folder.
        OSError: it does not fit.
    """
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist; make it first")
    free_bytes = shutil.disk_usage(target.parent).free
    if needed_bytes > free_bytes:
        raise OSError(
            f"{target} needs {needed_bytes / 1e6:.1f} MB and {target.parent} has "
            f"{free_bytes / 1e6:.1f} MB free. Make room, or write to another disk."
        )


def _with_digest(metadata: Mapping[str, str], digest: str) -> dict[str, str]:
    return {key: value.replace(DIGEST_PLACE, digest) for key, value in metadata.items()}
