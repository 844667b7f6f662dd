"""One safetensors file made of another, tensor by tensor, in little memory and all or nothing.

Reading, converting and writing overlap. In memory are at most the tensor that is converted, what
becomes of it, and :data:`AHEAD_BYTES` read ahead or waiting to be written. The new file has another
name until it is whole and on the disk: who finds ``NAME.partial`` finds what a killed run left.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .files import TORCH_NAMES, Entry, FileError, TensorFile, header_of, torch_dtype

if TYPE_CHECKING:
    from torch import Tensor

PARTIAL = ".partial"
PIECE_BYTES = 2**25
"""A tensor that stays as it is goes through in pieces of this size."""

AHEAD_BYTES = 2**28
"""What may be read ahead, or wait to be written, while a tensor is converted."""

BUFFERS = 3
BUFFER_BYTES = 2**27
"""Tensors up to this size are read into memory that is used again."""

DIGEST_PLACE = "0" * 64
"""Stands in the metadata where :func:`write_converted` puts the source's SHA-256."""

Progress = Callable[[int, int], None]
"""Called with the bytes of the source that are done and all of them; may raise to stop."""


@dataclass(frozen=True)
class Stored:
    """What a tensor is stored as; ``dtype`` as the header names it."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True)
class Change:
    """A tensor of the source and what becomes of it: nothing else, where ``convert`` is ``None``.

    ``convert`` is given the tensor and answers a tensor for each name in ``stored``.
    """

    source: Entry
    stored: Mapping[str, Stored]
    convert: Callable[[Tensor], Mapping[str, Tensor]] | None = None


def kept(entry: Entry) -> Change:
    """The tensor goes into the new file as it is."""
    return Change(entry, {entry.name: Stored(entry.dtype, entry.shape, entry.nbytes)})


def stored_as(tensor: Tensor) -> Stored:
    """How a tensor is stored; one on the ``meta`` device does."""
    names = {torch_name: name for name, torch_name in TORCH_NAMES.items()}
    name = names[str(tensor.dtype).removeprefix("torch.")]
    return Stored(name, tuple(tensor.shape), tensor.nbytes)


def write_converted(
    source: TensorFile,
    changes: Sequence[Change],
    target: Path,
    metadata: Mapping[str, str],
    progress: Progress,
) -> str:
    """Write ``target``; answers the SHA-256 of the source, which was read whole on the way.

    Args:
        changes: one for each tensor of the source, in the order of the source.
        metadata: of the new file; :data:`DIGEST_PLACE` in it becomes the source's SHA-256.

    Raises:
        FileExistsError: ``target`` exists, when this begins or when it ends.
        FileError: a tensor did not become what ``changes`` say.
        OSError: there is no room for ``target``, or it cannot be written.
    """
    if target.exists():
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
    _check_room(target, end)
    partial = target.with_name(target.name + PARTIAL)
    try:
        with partial.open("xb", buffering=0) as file:
            try:
                file.truncate(end)
                digest = _run(source, changes, file, starts, progress)
                file.seek(0)
                file.write(header_of(shapes, _with_digest(metadata, digest)))
                os.fsync(file.fileno())
            except BaseException:
                file.close()
                partial.unlink()
                raise
    except FileExistsError as error:
        raise FileExistsError(
            f"{partial} exists: another run makes this file now, or one was killed. "
            "In the second case remove it."
        ) from error
    if target.exists():
        partial.unlink()
        raise FileExistsError(f"{target} was made by another program meanwhile; it is left as is")
    partial.replace(target)
    return digest


def _check_room(target: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(target.parent).free
    if needed_bytes > free_bytes:
        raise OSError(
            f"{target} needs {needed_bytes / 1e9:.2f} GB and {target.parent} has "
            f"{free_bytes / 1e9:.2f} GB free. Make room, or write to another disk."
        )


def _with_digest(metadata: Mapping[str, str], digest: str) -> dict[str, str]:
    return {key: value.replace(DIGEST_PLACE, digest) for key, value in metadata.items()}


class _Buffers:
    """Memory to read into, taken in turn: fresh memory costs more time than reading into it.

    Three suffice: while one is converted another is read ahead, and what was written out of the
    third is done before it comes round again.
    """

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []

    def take(self, nbytes: int) -> Tensor:
        """uint8 ``[nbytes]``; its old content is lost. What is too large to keep is made anew."""
        import torch

        if nbytes > BUFFER_BYTES:
            return torch.empty(nbytes, dtype=torch.uint8)
        oldest = self._buffers.pop(0) if len(self._buffers) == BUFFERS else None
        if oldest is None or oldest.numel() < nbytes:
            oldest = torch.empty(nbytes, dtype=torch.uint8)
        self._buffers.append(oldest)
        return oldest[:nbytes]


@dataclass(frozen=True)
class _Piece:
    """A part of the source that goes through the stages in one go."""

    change: Change
    start: int
    nbytes: int


def _pieces(changes: Sequence[Change]) -> Iterator[_Piece]:
    for change in changes:
        size = change.source.nbytes
        step = PIECE_BYTES if change.convert is None else max(size, 1)
        for start in range(0, max(size, 1), step):
            yield _Piece(change, start, min(step, size - start))


def _run(
    source: TensorFile,
    changes: Sequence[Change],
    file: IO[bytes],
    starts: Mapping[str, int],
    progress: Progress,
) -> str:
    """All pieces through reading, converting and writing; answers the source's SHA-256."""
    digest = hashlib.sha256(source.header)
    total, done = sum(change.source.nbytes for change in changes), 0
    pieces, buffers = list(_pieces(changes)), _Buffers()

    def read(piece: _Piece) -> Tensor:
        raw = buffers.take(piece.nbytes)
        source.read_into(raw, piece.change.source.name, piece.start)
        digest.update(raw.numpy().data)
        return raw

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ahead: Future[Tensor] | None = None
        writing: Future[None] | None = None
        for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
            raw = (ahead or reader.submit(read, piece)).result()
            large = piece.nbytes > AHEAD_BYTES
            fits = following is not None and following.nbytes <= AHEAD_BYTES and not large
            ahead = reader.submit(read, following) if fits and following is not None else None
            if large and writing is not None:
                writing.result()
                writing = None
            ready = _converted(piece, raw, starts)
            del raw
            if writing is not None:
                writing.result()
            writing = writer.submit(_write, file, ready)
            done += piece.nbytes
            progress(done, total)
            del ready
        if writing is not None:
            writing.result()
    return digest.hexdigest()


def _converted(piece: _Piece, raw: Tensor, starts: Mapping[str, int]) -> list[tuple[int, Tensor]]:
    """Where in the new file which tensors go."""
    change = piece.change
    if change.convert is None:
        return [(starts[change.source.name] + piece.start, raw)]
    made = change.convert(raw.view(torch_dtype(change.source.dtype)).reshape(change.source.shape))
    for name, stored in change.stored.items():
        if stored_as(made[name]) != stored:
            raise FileError(f"{name} became {stored_as(made[name])} and not {stored} as planned")
    return [(starts[name], made[name]) for name in change.stored]


def _write(file: IO[bytes], tensors: Sequence[tuple[int, Tensor]]) -> None:
    import torch

    for start, tensor in tensors:
        file.seek(start)
        view = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
        while view:
            view = view[file.write(view) :]
