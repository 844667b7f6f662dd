"""The one writer of Markdown: what comes from outside shows as it is and does nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .table import Table
from .text import printable

SPECIAL = re.compile(r"[\\`*|~]|(?<![^\W_])_|_(?![^\W_])|(?<=\])(?=[(\[:])|&(?=#?\w+;)")
"""What Markdown obeys within a line, but for angle brackets. An underscore within a word is none of
it, a square bracket only before what makes a link of it."""

FIRST = re.compile(r"^(?:[#>+=-]|\d+(?=[.)]))")
"""What Markdown obeys at the start of a line."""


def inline(text: str) -> str:
    """``text`` within a line or a cell."""
    escaped = SPECIAL.sub(r"\\\g<0>", printable(text))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def block(text: str) -> str:
    """``text`` as a paragraph or an item of a list, where also its start could mean something."""
    text = printable(text).strip()
    start = FIRST.match(text)
    if start is None:
        return inline(text)
    end = start.end()
    if text[0].isdecimal():
        return f"{text[:end]}\\{inline(text[end:])}"
    return f"\\{text[:end]}{inline(text[end:])}"


def table_lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Headings and rows of a table."""
    lines = [_row(map(inline, headings)), _row(["---"] * len(headings))]
    return [*lines, *(_row(map(inline, row)) for row in rows)]


def bullets(texts: Iterable[str]) -> list[str]:
    """A list, an item a line."""
    return [f"- {block(text)}" for text in texts]


def of_table(table: Table) -> list[str]:
    """The lines of a table without its notes."""
    return table_lines(table.headings, table.rows)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
