"""Tables for a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from .table import Table

GAP = "  "
MOST_COLUMNS = 3
"""So many rows may stand side by side instead, each a column."""

UNBREAKABLE = {" ± ": "\u00a0±\u00a0"}
"""Spaces at which a cell is not wrapped, and what stands for them meanwhile."""


def printable(text: str) -> str:
    """``text`` on one line, with no character that a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; ``None`` where it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def as_text(table: Table, width: int | None = None) -> str:
    """Aligned columns and, below them, notes; no line is longer than ``width``, if that is given.

    Cells are wrapped between words where they must be. Where that is not enough, few rows stand
    side by side, a column each, and of many each becomes a list.
    """
    ways = [table, table.transposed] if 0 < len(table.rows) <= MOST_COLUMNS else [table]
    laid = (
        _in_columns([[printable(c) for c in x] for x in (t.headings, *t.rows)], width) for t in ways
    )
    body = next(filter(None, laid), None)
    if body is None:
        lines = [[printable(cell) for cell in line] for line in (table.headings, *table.rows)]
        body = list(_as_lists(lines, width))
    notes = [_wrapped(f"* {printable(note)}", width, "  ") for note in table.notes]
    return "\n".join([*body, *notes])


def _lines(table: Table) -> list[list[str]]:
    return [[printable(cell) for cell in line] for line in (table.headings, *table.rows)]


def _in_columns(lines: Sequence[Sequence[str]], width: int | None) -> list[str] | None:
    """``None`` where a word would have to be broken."""
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    narrowest = [max(len(word) for cell in c for word in _words(cell)) for c in columns]
    room = None if width is None else width - len(GAP) * (len(widths) - 1)
    if room is not None and sum(narrowest) > room:
        return None
    while room is not None and sum(widths) > room:
        shrinking = [n for n, least in enumerate(narrowest) if widths[n] > least]
        widths[max(shrinking, key=widths.__getitem__)] -= 1
    rule = ["-" * width for width in widths]
    return [text for line in (lines[0], rule, *lines[1:]) for text in _laid(line, widths)]


def _words(cell: str) -> list[str]:
    for space, stands_in in UNBREAKABLE.items():
        cell = cell.replace(space, stands_in)
    return cell.split(" ")


def _laid(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """The lines of one row."""
    wrapped = [
        _wrap(cell, width) if len(cell) > width else [cell]
        for cell, width in zip(cells, widths, strict=True)
    ]
    for number in range(max(map(len, wrapped))):
        parts = (part[number] if number < len(part) else "" for part in wrapped)
        padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
        yield GAP.join(padded).rstrip()


def _wrap(cell: str, width: int) -> list[str]:
    lines = [""]
    for word in _words(cell):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return [line.replace("\u00a0", " ") for line in lines]


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
