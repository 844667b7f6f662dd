"""``report.md``: the tables, what to know of them, and the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..analysis.analysis import Analysis
from ..analysis.columns import condition_name
from ..tables.markdown import bullets, of_table
from ..tables.table import Table
from ..tables.text import MOST_COLUMNS
from .blanks import told_once
from .quality import QUALITY_NOTES, quality_table
from .summary import phase_table, summary_table

if TYPE_CHECKING:
    import pandas as pd

PAGE_WIDTH = 110


def as_markdown(analysis: Analysis, preface: Sequence[str] = ()) -> str:
    """A whole ``report.md``; ``preface`` are lines of Markdown that come before the tables."""
    table, phases = told_once(summary_table(analysis), analysis), phase_table(analysis)
    lines = ["# WattBench report", "", *preface, *of_table(_as_wide_as_a_page(table))]
    lines += ["", "Values are mean ± half width of the 95 % Student-t interval."]
    lines += ["", *bullets(table.notes)]
    if phases.rows:
        lines += ["", "## Energy of a run, by phase", "", *of_table(_as_wide_as_a_page(phases))]
    if analysis.quality_trade_offs:
        names = [condition_name(row) for row in analysis.summary.to_dict("records")]
        lines += ["", "## Energy against quality"]
        for metric, points in analysis.quality_trade_offs:
            lines += ["", *of_table(quality_table(metric, points, names))]
        lines += ["", *bullets(QUALITY_NOTES)]
    lines += ["", "## Environment", "", *bullets(environment_lines(analysis.frame))]
    return "\n".join(lines) + "\n"


def _as_wide_as_a_page(table: Table) -> Table:
    """GitHub shows some hundred letters beside each other: few rows become columns there."""
    widths = [max(map(len, column)) for column in zip(table.headings, *table.rows, strict=True)]
    is_wide = sum(widths) + 3 * len(widths) > PAGE_WIDTH
    return table.transposed if is_wide and 0 < len(table.rows) <= MOST_COLUMNS else table


def environment_lines(runs: pd.DataFrame) -> list[str]:
    """The distinct machines and programs of a table of runs, a line each."""
    machines = runs[["gpu_name", "cpu_name", "driver", "runtime", "os"]].drop_duplicates()
    programs = runs[["host", "host_version", "torch", "python", "pack"]].drop_duplicates()
    lines = [
        ", ".join(
            part for part in (row.gpu_name, row.cpu_name, row.driver, row.runtime, row.os) if part
        )
        for row in machines.itertuples()
    ]
    lines += [
        f"{row.host} {row.host_version}, torch {row.torch}, Python {row.python}, "
        f"WattBench {row.pack}"
        for row in programs.itertuples()
    ]
    return lines
