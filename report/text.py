"""The summary for a terminal."""

from __future__ import annotations

from ..analysis.analysis import Analysis
from ..tables.text import as_text
from .blanks import told_once
from .summary import phase_table, summary_table


def analysis_text(analysis: Analysis, width: int | None = None) -> str:
    """The summary and the phases, in lines of at most ``width`` where that is given."""
    table, phases = told_once(summary_table(analysis), analysis), phase_table(analysis)
    tables = (table, phases) if phases.rows else (table,)
    return "\n\n".join(as_text(table, width) for table in tables)
