"""GGUF files, read tensor by tensor with the package gguf."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import GGUF_START, WIDE, Entry, FileError
from .formats.gguf import PREFIX
from .ggml import BLOCK_TYPES

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".gguf"


class GgufFile:
    """A GGUF file that is open for reading: a context manager with what ``TensorFile`` offers.

    A matrix in blocks of :data:`.ggml.BLOCK_TYPES` is uint8 ``[out, bytes of a row]``; its type is
    called ``gguf:Q4_K``. What is in other blocks, or has other dimensions, is widened when it is
    read, and has the shape that it has then.

    Raises:
        FileError: the file is damaged or truncated, or the package gguf is missing.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            from gguf import GGUFReader
        except ImportError as error:
            raise FileError(
                "GGUF files need the package gguf: pip install gguf, then start anew."
            ) from error
        self.path = path
        self.metadata: dict[str, str] = {}
        try:
            reader = GGUFReader(path)
            self._items = {item.name: item for item in reader.tensors}
            self.entries = {name: _entry(reader, item) for name, item in self._items.items()}
        except (ValueError, IndexError, KeyError) as error:
            raise FileError(
                f"{path.name} is no whole GGUF file ({error}). It may have been copied or "
                "downloaded in part: fetch it again."
            ) from error

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._items.clear()

    def is_in_blocks(self, name: str) -> bool:
        """Whether :meth:`read` returns blocks."""
        entry = self.entries[name]
        return entry.dtype.removeprefix(PREFIX) in BLOCK_TYPES and len(entry.shape) == 2

    def read(self, name: str) -> Tensor:
        """A tensor, in memory of its own: blocks, fp16, or fp32."""
        import numpy as np
        import torch
        from gguf.quants import dequantize

        item, entry = self._items[name], self.entries[name]
        if self.is_in_blocks(name) or entry.dtype in ("F32", "F16"):
            return torch.from_numpy(np.array(item.data)).reshape(entry.shape)
        return torch.from_numpy(dequantize(item.data, item.tensor_type)).reshape(entry.shape)


def is_gguf(path: Path) -> bool:
    """Whether a file is called or begins like a GGUF file."""
    if path.suffix.lower() == SUFFIX:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(GGUF_START)) == GGUF_START


def _entry(reader: Any, item: Any) -> Entry:
    """One tensor; ``orig_shape`` is what ComfyUI-GGUF notes of reshaped ones."""
    shape = tuple(int(size) for size in reversed(item.shape))
    original = reader.get_field(f"comfy.gguf.orig_shape.{item.name}")
    if original is not None:
        shape = tuple(int(original.parts[part][0]) for part in original.data)
    kind = item.tensor_type.name
    block = BLOCK_TYPES.get(kind)
    if block is not None and len(shape) == 2:
        shape = (shape[0], shape[1] // block.weights * block.nbytes)
    dtype = kind if kind in WIDE else PREFIX + kind
    return Entry(item.name, dtype, shape, int(item.data_offset), int(item.n_bytes))
