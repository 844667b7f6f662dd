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

    @property
    def transposed(self) -> Table:
        """A column for each row: what few rows of many columns become where width is scarce."""
        lines = (self.headings, *self.rows)
        columns = tuple(zip(*lines, strict=True))
        return Table(columns[0], columns[1:], self.notes)
