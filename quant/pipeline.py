"""Tensors that are read, converted and written at once, each stage in a thread of its own.

In memory are at most the tensor that is converted, what becomes of it, :data:`AHEAD_BYTES` read
ahead and :data:`BEHIND_BYTES` waiting to be written.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Generic, TypeVar

from .files import TORCH_NAMES, Entry, FileError, TensorFile, torch_dtype

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

PIECE_BYTES = 2**25
"""A tensor that stays as it is goes through in pieces of this size."""

AHEAD_BYTES = 5 * 2**26
"""What may be read at most before it is converted: two of the largest layers of Flux or Wan."""

BEHIND_BYTES = 2**27
"""What may wait at most to be written."""

WRITE_BYTES = 2**20
"""What is written in one call. A call with a whole layer took ten times the processor's time: the
page cache then looks for large blocks of memory (ext4, Linux 6.18, virtual machine)."""

FREE_BYTES = 2**27
"""What may be kept at most of memory that is used again."""

POOLED_BYTES = 2**20
"""Smaller memory is not kept: it costs nothing to get."""

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

    ``convert`` is given the tensor and returns a tensor for each name in ``stored``, in memory of
    its own: that of the tensor is used again.
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


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Within it torch computes in the calling thread alone.

    Reading and hashing keep one core busy, and making 8-bit numbers takes one other no longer. A
    team of torch's threads would spin on the cores of the reader and the writer while it waits.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def convert_all(
    source: TensorFile,
    changes: Sequence[Change],
    file: IO[bytes],
    starts: Mapping[str, int],
    progress: Progress,
) -> str:
    """Every change through reading, converting and writing; returns the source's SHA-256.

    Args:
        changes: one for each tensor of the source, in the order of the source.
        file: open for writing, unbuffered.
        starts: where in ``file`` each stored tensor begins.

    Raises:
        FileError: a tensor did not become what ``changes`` say, or the source became shorter.
        OSError: there is no room for ``file``, or it cannot be written.
    """
    digest = hashlib.sha256(source.header)
    total, done = sum(change.source.nbytes for change in changes), 0
    coming, memory = deque(_pieces(changes)), _Memory()
    ahead: _Line[tuple[_Piece, Tensor]] = _Line(AHEAD_BYTES)
    behind: _Line[Tensor | None] = _Line(BEHIND_BYTES)

    def read(piece: _Piece, raw: Tensor) -> tuple[_Piece, Tensor]:
        source.read_into(raw, piece.change.source.name, piece.start)
        digest.update(raw.numpy().data)
        return piece, raw

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        while coming or ahead:
            while coming and ahead.has_room(coming[0].nbytes):
                piece = coming.popleft()
                raw = memory.take(piece.nbytes)
                ahead.add(piece.nbytes, reader.submit(read, piece, raw))
            piece, raw = ahead.next()
            while not behind.has_room(piece.stored_bytes):
                memory.give(behind.next())
            ready = _converted(piece, raw, starts)
            if piece.change.convert is None:
                written = writer.submit(_write, file, ready, raw)
            else:
                written = writer.submit(_write, file, ready)
                memory.give(raw)
            del ready
            behind.add(piece.stored_bytes, written)
            done += piece.nbytes
            progress(done, total)
        while behind:
            behind.next()
    return digest.hexdigest()


@dataclass(frozen=True)
class _Piece:
    """A part of the source that goes through the stages in one go."""

    change: Change
    start: int
    nbytes: int

    @property
    def stored_bytes(self) -> int:
        if self.change.convert is None:
            return self.nbytes
        return sum(stored.nbytes for stored in self.change.stored.values())


def _pieces(changes: Sequence[Change]) -> Iterator[_Piece]:
    for change in changes:
        size = change.source.nbytes
        step = PIECE_BYTES if change.convert is None else max(size, 1)
        for start in range(0, max(size, 1), step):
            yield _Piece(change, start, min(step, size - start))


class _Line(Generic[T]):
    """What a thread works on, in order: together at most ``limit`` bytes, or one thing alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._waiting: deque[tuple[int, Future[T]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, nbytes: int) -> bool:
        return not self._waiting or self._held + nbytes <= self._limit

    def add(self, nbytes: int, work: Future[T]) -> None:
        self._waiting.append((nbytes, work))
        self._held += nbytes

    def next(self) -> T:
        """The result of the oldest, when it is there."""
        nbytes, work = self._waiting.popleft()
        self._held -= nbytes
        return work.result()


class _Memory:
    """Memory to read into, used again: fresh memory costs more time than reading into it."""

    def __init__(self) -> None:
        self._free: deque[Tensor] = deque()

    def take(self, nbytes: int) -> Tensor:
        """uint8 ``[nbytes]`` with any content."""
        import torch

        for place, raw in enumerate(self._free):
            if raw.numel() == nbytes:
                del self._free[place]
                return raw
        return torch.empty(nbytes, dtype=torch.uint8)

    def give(self, raw: Tensor | None) -> None:
        """Take ``raw`` back; what was kept longest goes where it becomes too much."""
        if raw is not None and raw.numel() >= POOLED_BYTES:
            self._free.append(raw)
        while sum(kept.numel() for kept in self._free) > FREE_BYTES:
            self._free.popleft()


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


def _write(
    file: IO[bytes], tensors: Sequence[tuple[int, Tensor]], raw: Tensor | None = None
) -> Tensor | None:
    """Write tensors to their places; returns ``raw``, the memory that is free again."""
    import torch

    try:
        for start, tensor in tensors:
            file.seek(start)
            view = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
            while view:
                view = view[file.write(view[:WRITE_BYTES]) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror, file.name) from error
    return raw
