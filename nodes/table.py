"""A table as a node shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tables.table import Table
from ..tables.text import as_text


def shown_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]
) -> dict[str, Any]:
    """What a node's ``ui`` holds of a table: itself, for the node's body, and as text."""
    table = Table(tuple(headings), tuple(tuple(row) for row in rows), tuple(notes))
    return {"wattbench_table": [vars(table)], "text": [as_text(table)]}
