"""The summary for people: a table of cells, as text for a terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..analysis.columns import ENVIRONMENT_COLUMNS, METRICS
from ..analysis.comparison import BASELINE, COMPARED
from ..analysis.summary import OVER_VISITS
from ..tables.decimals import decimals_for, with_half_width
from .kernels_and_pictures import fallback_notes, picture_notes
from .notes import run_notes
from .prediction import prediction_notes
from .protocol import protocol_notes

if TYPE_CHECKING:
    import pandas as pd

BLANK = "—"
GIB = 2**30

HEADINGS = ("Condition", "n", "it/s", "img/s", "J/img", "img/kWh", "Peak VRAM (GiB)", "Energy from")
DIFFERENCES = {
    "attention": "Attention",
    "weight_format": "Weights",
    "optimizations": "Optimizations",
}
"""Columns of a condition that its short name leaves out; shown where the rows differ in them."""


@dataclass(frozen=True)
class Table:
    """A summary ready to be shown: cells are text, ``notes`` say what the reader must know."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def summary_table(summary: pd.DataFrame, runs: pd.DataFrame) -> Table:
    """The table that every face of WattBench shows, from a summary and the runs behind it."""
    differing = differing_columns(summary)
    compared = len(summary) > 1 and (summary["pairs"].notna().any() or _any_broken(summary))
    ratios = list(COMPARED) if compared else []
    headings = (
        *condition_headings(differing),
        *HEADINGS[1:-1],
        *(COMPARED[metric] for metric in ratios),
        HEADINGS[-1],
    )
    rows = tuple(_cells(row, differing, ratios) for row in summary.to_dict("records"))
    return Table(headings, rows, tuple(_notes(summary, runs)))


def _any_broken(summary: pd.DataFrame) -> bool:
    return bool((summary["broken_pictures"] > 0).any())


def differing_columns(summary: pd.DataFrame) -> list[str]:
    """Those of :data:`DIFFERENCES` in which the rows differ, and what tells environments apart.

    Of the environment's columns only those without which two rows would have one name.
    """
    chosen = [column for column in DIFFERENCES if summary[column].nunique() > 1]
    for column in ENVIRONMENT_COLUMNS:
        named = ["condition", *chosen]
        if _distinct(summary, [*named, column]) > _distinct(summary, named):
            chosen.append(column)
    return chosen


def _distinct(summary: pd.DataFrame, columns: list[str]) -> int:
    return len(summary[columns].drop_duplicates())


def condition_headings(differing: Sequence[str]) -> tuple[str, ...]:
    """The headings of :func:`condition_cells`."""
    return (HEADINGS[0], *(DIFFERENCES.get(column, column) for column in differing))


def condition_cells(row: dict[Any, Any], differing: Sequence[str]) -> tuple[str, ...]:
    """The name of a summary's row with what a reader must see first, and what sets it apart."""
    marks = ["[synthetic]"] if row["weights"] == "synthetic" else []
    marks += ["[fall-backs]"] if row["fallback_runs"] else []
    marks += ["[broken picture]"] if row["broken_pictures"] else []
    return (" ".join((row["condition"], *marks)), *(_known(row[column]) for column in differing))


def _known(value: object) -> str:
    if isinstance(value, float):
        return BLANK if math.isnan(value) else f"{value:g}"
    return str(value) or BLANK


def as_text(table: Table) -> str:
    """Aligned columns, for a terminal."""
    lines = [table.headings, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.headings))]
    text = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
    ]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*(line.rstrip() for line in text), *(f"* {note}" for note in table.notes)])


def as_markdown(
    table: Table, phases: Table, environment: Sequence[str], preface: Sequence[str] = ()
) -> str:
    """A whole ``report.md``: the tables, their notes, and the machine it was measured on.

    ``preface`` are lines that come before the tables.
    """
    lines = ["# WattBench report", "", *preface, *markdown_table(table)]
    lines += ["", "Values are mean ± half width of the 95 % Student-t interval."]
    lines += ["", *(f"- {note}" for note in table.notes)]
    if phases.rows:
        lines += ["", "## Energy of a run, by phase", "", *markdown_table(phases)]
    lines += ["", "## Environment", "", *(f"- {line}" for line in environment)]
    return "\n".join(lines) + "\n"


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


def markdown_table(table: Table) -> list[str]:
    """The lines of a table's headings and rows, without its notes."""
    rows = (table.headings, ["---"] * len(table.headings), *table.rows)
    return [_markdown_row(row) for row in rows]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cells(row: dict[Any, Any], differing: list[str], ratios: list[str]) -> tuple[str, ...]:
    n = f"{row['n']}" if row["visits"] <= 1 else f"{row['n']} in {row['visits']} visits"
    energy = f"{row['energy_meter']} ({row['energy_method']})" if row["energy_meter"] else BLANK
    metrics = [
        plus_minus(row, metric, GIB if metric.endswith("bytes") else 1) for metric in METRICS
    ]
    return (
        *condition_cells(row, differing),
        n,
        *metrics,
        *(_ratio(row, metric) for metric in ratios),
        energy,
    )


def _ratio(row: dict[Any, Any], metric: str) -> str:
    if row["comparison_note"] == BASELINE:
        return "1"
    value, low, high = (row[f"{metric}_ratio{part}"] for part in ("", "_low", "_high"))
    if value is None or math.isnan(value):
        return "broken picture" if row["broken_pictures"] else BLANK
    digits = decimals_for(value, (high - low) / 2)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def plus_minus(row: dict[Any, Any], metric: str, divisor: int = 1) -> str:
    """Mean and half width of a metric of a summary's row, in units of ``divisor``."""
    mean, half = row[f"{metric}_mean"], row[f"{metric}_ci95"]
    if mean is None or math.isnan(mean):
        return BLANK
    return with_half_width(mean / divisor, math.nan if half is None else half / divisor)


def _notes(summary: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """What the table's reader must know, each once."""
    notes = []
    if summary.empty:
        held = f"{len(runs)} runs, all of them warm-ups" if len(runs) else "no runs"
        notes.append(f"There is nothing to average: the table holds {held}.")
    if (summary["interval_over"] == OVER_VISITS).any():
        notes.append("Intervals are taken over visit means: a visit is a fresh server process.")
    elif (summary["n"] > 1).any():
        notes.append("Intervals are taken over repeats within one process, which share its state.")
    if (summary["weights"] == "synthetic").any():
        notes.append("[synthetic]: random weights; cost is real, pictures mean nothing.")
    differing = [
        column for column in ENVIRONMENT_COLUMNS if summary[column].nunique(dropna=False) > 1
    ]
    if differing:
        notes.append(f"Rows are of different environments, by {', '.join(differing)}.")
    if summary["pairs"].notna().any():
        notes.append(
            "× is the ratio to the first row over runs of the same seed, with its 95 % interval."
        )
    notes += prediction_notes(runs)
    notes += protocol_notes(runs)
    notes += run_notes(runs)
    notes += [*fallback_notes(runs), *picture_notes(runs)]
    failed = runs[runs["error"] != ""]
    notes += [
        f"{len(group)} failed of {condition}: {error}"
        for (condition, error), group in failed.groupby(["condition", "error"], sort=False)
    ]
    return notes
