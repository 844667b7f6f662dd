"""GGUF files, read tensor by tensor with the package gguf."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import GGUF_START, WIDE, Entry, FileError
from .formats.gguf import PREFIX
from .ggml import BLOCK_TYPES
from .gguf_header import check_header
from .gguf_text import OTHERS, native_name

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".gguf"

PLAIN = ("F64", "F32", "F16", "I64", "I32", "I16", "I8")
"""Types whose numbers are those of the tensor."""


class GgufFile:
    """A GGUF file that is open for reading: a context manager with what ``TensorFile`` offers.

    An entry has the shape that its tensor computes with, and of text encoders ComfyUI's name
    (:mod:`.gguf_text`). A matrix in blocks of :data:`.ggml.BLOCK_TYPES` is read as uint8
    ``[rows, bytes of a row]``; its type is called ``gguf:Q4_K``. ComfyUI-GGUF lays matrices whose
    rows are no multiple of 256 out anew, with 256 weights to a row. What is in other blocks, or has
    other dimensions, or is no ``.weight``, is widened when it is read.

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
            if path.exists() and not path.is_file():
                raise ValueError("it is a pipe or a device")
            check_header(path)
            reader = GGUFReader(path)
            kind = _architecture(reader)
            is_gated = any("ffn_gate" in item.name for item in reader.tensors)
            self._items = {native_name(kind, i.name, is_gated): i for i in reader.tensors}
            self.entries = {n: _entry(reader, n, item) for n, item in self._items.items()}
        except (ValueError, IndexError, KeyError, RecursionError) as error:
            raise FileError(
                f"{path.name} is no whole GGUF file ({error}). It may have been copied or "
                "downloaded in part: fetch it again."
            ) from error
        if kind in OTHERS:
            raise FileError(
                f"{path.name} is a GGUF file of a text encoder of the kind {kind}, which WattBench "
                "does not read: take its safetensors file."
            )

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._items.clear()

    def is_in_blocks(self, name: str) -> bool:
        """Whether :meth:`read` returns blocks."""
        entry = self.entries[name]
        is_weight = name.endswith(".weight") and len(entry.shape) == 2
        return is_weight and entry.dtype.removeprefix(PREFIX) in BLOCK_TYPES

    def read(self, name: str) -> Tensor:
        """A tensor, in memory of its own: blocks, fp16, or fp32."""
        import numpy as np
        import torch
        from gguf.quants import dequantize

        item, entry = self._items[name], self.entries[name]
        if self.is_in_blocks(name):
            return torch.from_numpy(np.array(item.data))
        if entry.dtype in PLAIN:
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


def _architecture(reader: Any) -> str:
    """What the file says it is, as ``flux`` or ``t5encoder``; empty where it does not."""
    field = reader.get_field("general.architecture")
    return "" if field is None else bytes(field.parts[field.data[0]]).decode("utf-8", "replace")


def _entry(reader: Any, name: str, item: Any) -> Entry:
    """One tensor; ``orig_shape`` is what ComfyUI-GGUF notes of reshaped ones."""
    shape = tuple(int(size) for size in reversed(item.shape))
    original = reader.get_field(f"comfy.gguf.orig_shape.{item.name}")
    if original is not None:
        reshaped = tuple(int(original.parts[part][0]) for part in original.data)
        if prod(reshaped) != prod(shape):
            raise ValueError(f"comfy.gguf.orig_shape of {item.name} is not that of its weights")
        shape = reshaped
    kind = item.tensor_type.name
    dtype = kind if kind in WIDE or kind in PLAIN else PREFIX + kind
    return Entry(name, dtype, shape, int(item.data_offset), int(item.n_bytes))
