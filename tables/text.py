"""Tables for a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from .table import Table

GAP = "  "
NARROWEST = 6
"""Columns are not made narrower than this: then each row becomes a list of its cells."""


def printable(text: str) -> str:
    """``text`` on one line, with no character that a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; ``None`` where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def as_text(table: Table, width: int | None = None) -> str:
    """Aligned columns and, below them, notes; no line is longer than ``width``, if that is given.

    Cells are wrapped where they must be. Where even that is not enough, each row is a list.
    """
    lines = [[printable(cell) for cell in line] for line in (table.headings, *table.rows)]
    widths = _fitted([max(map(len, column)) for column in zip(*lines, strict=True)], width)
    if widths is None:
        body = list(_as_lists(lines, width))
    else:
        rule = ["-" * width for width in widths]
        body = [text for line in (lines[0], rule, *lines[1:]) for text in _laid(line, widths)]
    notes = [_wrapped(f"* {printable(note)}", width, "  ") for note in table.notes]
    return "\n".join([*body, *notes])


def _fitted(widths: list[int], width: int | None) -> list[int] | None:
    """The widest columns made narrower until all fit; ``None`` where they cannot."""
    widths, gaps = list(widths), len(GAP) * (len(widths) - 1)
    while width is not None and sum(widths) + gaps > width:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            return None
        widths[widest] -= 1
    return widths


def _laid(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """The lines of one row."""
    wrapped = [
        textwrap.wrap(cell, width) if len(cell) > width else [cell]
        for cell, width in zip(cells, widths, strict=True)
    ]
    for number in range(max(map(len, wrapped))):
        parts = (part[number] if number < len(part) else "" for part in wrapped)
        padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
        yield GAP.join(padded).rstrip()


def _as_lists(lines: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    headings, *rows = lines
    for number, row in enumerate(rows):
        if number:
            yield ""
        for heading, cell in zip(headings, row, strict=True):
            yield _wrapped(f"{heading}: {cell}", width, "  ")


def _wrapped(text: str, width: int | None, indent: str) -> str:
    if width is None:
        return text
    return textwrap.fill(text, width, subsequent_indent=indent)
