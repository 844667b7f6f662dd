"""A table of text, ready to be shown."""

from __future__ import annotations

from dataclasses import dataclass

BLANK = "—"
"""A cell without a value."""


@dataclass(frozen=True)
class Table:
    """Cells are text; ``notes`` say what the reader must know."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
