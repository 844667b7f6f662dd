"""A GGUF file's counts, held against its size before a reader believes them.

A header says how many items follow and how long they are. The package gguf makes objects of as many
as it says, also where the file ends long before.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

MAGIC = b"GGUF"
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of the format's types of numbers, by their code."""

STRING, ARRAY = 8, 9
LEAST_BYTES = {**SCALAR_BYTES, STRING: 8, ARRAY: 12}
"""What an item of a type takes at least: a string its length, an array its type and length."""

LEAST_ENTRY_BYTES = 24
"""Of a tensor's entry: an empty name, no dimensions, type and place."""

MAX_DEPTH = 4
"""Of arrays within arrays; no known file has any."""

MAX_ITEMS = 20_000_000
"""Of all arrays of a file. A vocabulary has some hundred thousand words."""

MAX_DIMENSIONS = 8


class HeaderError(ValueError):
    """A count that the file is too small for, or that no model needs."""


def check_header(path: Path) -> None:
    """Read a GGUF file's header without making anything of it.

    Raises:
        HeaderError: it is no GGUF file, or its counts do not fit its size.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        _Header(file, os.fstat(file.fileno()).st_size).check()


class _Header:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self._order = "<"
        self._items = 0

    def check(self) -> None:
        if self._bytes(4) != MAGIC:
            raise HeaderError("it does not begin like one")
        version = self._number("I")
        if version & 0xFFFF == 0:
            self._order = ">"
        tensor_count, key_count = self._number("Q"), self._number("Q")
        self._fits(key_count, 8 + 4 + 1, "keys")
        for _ in range(key_count):
            self._skip_string()
            self._skip_value(self._number("I"), 0)
        self._fits(tensor_count, LEAST_ENTRY_BYTES, "tensors")
        for _ in range(tensor_count):
            self._check_tensor()

    def _check_tensor(self) -> None:
        self._skip_string()
        dimensions = self._number("I")
        if dimensions > MAX_DIMENSIONS:
            raise HeaderError(f"a tensor has {dimensions} dimensions")
        weights = 1
        for _ in range(dimensions):
            weights *= self._number("Q")
        self._skip(4 + 8)
        if weights > 8 * (self._left + 1):
            raise HeaderError(f"a tensor has {weights} weights, more than the file has bits")

    def _skip_value(self, kind: int, depth: int) -> None:
        if kind in SCALAR_BYTES:
            self._skip(SCALAR_BYTES[kind])
        elif kind == STRING:
            self._skip_string()
        elif kind == ARRAY:
            self._skip_array(depth)
        else:
            raise HeaderError(f"a value has the unknown type {kind}")

    def _skip_array(self, depth: int) -> None:
        if depth == MAX_DEPTH:
            raise HeaderError(f"arrays lie more than {MAX_DEPTH} deep in each other")
        kind, count = self._number("I"), self._number("Q")
        if kind not in LEAST_BYTES:
            raise HeaderError(f"a value has the unknown type {kind}")
        self._fits(count, LEAST_BYTES[kind], "items of an array")
        self._items += count
        if self._items > MAX_ITEMS:
            raise HeaderError(f"its arrays have more than {MAX_ITEMS} items")
        if kind in SCALAR_BYTES:
            self._skip(count * SCALAR_BYTES[kind])
            return
        for _ in range(count):
            self._skip_value(kind, depth + 1)

    def _skip_string(self) -> None:
        self._skip(self._number("Q"))

    def _fits(self, count: int, least_bytes: int, what: str) -> None:
        if count * least_bytes > self._left:
            raise HeaderError(f"it ends before the {count} {what} that it speaks of")

    def _skip(self, count: int) -> None:
        if count > self._left:
            raise HeaderError(f"it ends within {count} bytes that it speaks of")
        self._left -= count
        self._file.seek(count, os.SEEK_CUR)

    def _number(self, code: str) -> int:
        [number] = struct.unpack(self._order + code, self._bytes(struct.calcsize(code)))
        return int(number)

    def _bytes(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) != count:
            raise HeaderError("it ends within its header")
        self._left -= count
        return found
