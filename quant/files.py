"""Safetensors files, read tensor by tensor.

By plain reads and not by mapping them into memory: a mapped file's pages count as the process's.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TORCH_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
"""The format's names of types and torch's."""

WIDE = frozenset({"F64", "F32", "F16", "BF16"})
"""Types of weights that nothing has quantized."""

SHORT_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""What tables call torch's types; others keep torch's name, for example ``float8_e4m3fn``."""

LENGTH = struct.Struct("<Q")
"""What a file begins with: the bytes of its header, which is JSON."""

PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How ``torch.save`` begins a file: a zip archive of pickles, or a pickle of protocol 2 to 5."""

GGUF_START = b"GGUF"


class FileError(ValueError):
    """A file that cannot be read or made; the message says which, why and what to do."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: ``dtype`` as the header names it, ``start`` from the file's start."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int


class TensorFile:
    """A safetensors file that is open for reading; a context manager.

    ``header`` is what comes before the tensors, as it is; ``entries`` are in the order in which
    they lie in the file.

    Raises:
        FileError: it is a pickle, a GGUF file, or a damaged or truncated safetensors file.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header, self.metadata, self.entries = _read_header(path)
        self._file = path.open("rb", buffering=0)

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, name: str) -> Tensor:
        """A tensor, in memory of its own."""
        entry = self.entries[name]
        raw = self.read_bytes(name, 0, entry.nbytes)
        return raw.view(torch_dtype(entry.dtype)).reshape(entry.shape)

    def read_bytes(self, name: str, start: int, length: int) -> Tensor:
        """A part of a tensor as bytes: uint8 ``[length]``.

        Raises:
            FileError: the file became shorter while it was read.
        """
        import torch

        raw = torch.empty(length, dtype=torch.uint8)
        self.read_into(raw, name, start)
        return raw

    def read_into(self, raw: Tensor, name: str, start: int) -> None:
        """Fill ``raw``, uint8, with what a tensor holds from its byte ``start`` on.

        Raises:
            FileError: the file became shorter while it was read.
        """
        length = raw.numel()
        view = raw.numpy().data
        self._file.seek(self.entries[name].start + start)
        done = 0
        while done < length:
            count = self._file.readinto(view[done:])
            if not count:
                raise FileError(f"{self.path} ends within {name}: it changed while it was read")
            done += count


def torch_dtype(name: str) -> torch.dtype:
    """torch's type of the header's name.

    Raises:
        FileError: a type that this torch does not have.
    """
    import torch

    dtype = getattr(torch, TORCH_NAMES.get(name, ""), None)
    if not isinstance(dtype, torch.dtype):
        raise FileError(f"tensors of type {name} cannot be computed with")
    return dtype


def dtype_name(name: str) -> str:
    """What tables call a type of the header: ``bf16`` for ``BF16``."""
    torch_name = TORCH_NAMES.get(name, name)
    return SHORT_NAMES.get(torch_name, torch_name)


def header_of(
    shapes: Mapping[str, tuple[str, tuple[int, ...], int]], metadata: Mapping[str, str]
) -> bytes:
    """The start of a file whose tensors follow in this order: name to type, shape and bytes."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, (dtype, shape, nbytes) in shapes.items():
        start, end = end, end + nbytes
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return LENGTH.pack(len(text)) + text


def _read_header(path: Path) -> tuple[bytes, dict[str, str], dict[str, Entry]]:
    """The header as it is, metadata and entries, after the safetensors library has checked it."""
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        raise FileError(f"{path} is a folder; name the .safetensors file in it")
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is a pipe or a device, not a file")
    with path.open("rb") as file:
        start = file.read(LENGTH.size)
        try:
            with safe_open(path, "numpy"):
                pass
        except SafetensorError as error:
            raise FileError(_refusal(path, start, error)) from error
        text = file.read(LENGTH.unpack(start)[0])
        origin = file.tell()
    header = json.loads(text)
    metadata = header.pop("__metadata__", None) or {}
    entries = {}
    for name, facts in sorted(header.items(), key=lambda item: item[1]["data_offsets"][0]):
        begin, end = facts["data_offsets"]
        shape = tuple(facts["shape"])
        entries[name] = Entry(name, facts["dtype"], shape, origin + begin, end - begin)
    return start + text, metadata, entries


def _refusal(path: Path, start: bytes, error: Exception) -> str:
    """What a file is that the safetensors library refuses, and what to do.

    A whole file is no pickle even where the length of its header begins like one.
    """
    if start.startswith(PICKLE_STARTS):
        return (
            f"{path} is a pickle, which may run code when it is read. Get the model as "
            "safetensors, or load it in ComfyUI and save it again."
        )
    if start.startswith(GGUF_START):
        return f"{path} is a GGUF file: it is quantized already. Begin with the original file."
    # What the library quotes of the file is left out.
    said = re.split("[`\"']", str(error))[0].rstrip(" :")
    return (
        f"{path} is no whole safetensors file ({said}). Was its download cut short? Get it again."
    )
