"""The tables that every face of WattBench shows: the summary, and where its energy went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..analysis.analysis import Analysis
from ..analysis.columns import ENVIRONMENT_COLUMNS, METRICS, PHASE_METRICS, condition_name
from ..analysis.comparison import BASELINE, COMPARED
from ..tables.decimals import decimals_for, with_half_width
from ..tables.table import BLANK, Table

if TYPE_CHECKING:
    import pandas as pd

GIB = 2**30

HEADINGS = (
    *("Condition", "n", "it/s", "img/s", "s/img", "J/img", "img/kWh", "Peak VRAM (GiB)"),
    "Energy from",
)
PHASE_HEADINGS = ("Encode (J)", "Denoise (J)", "Decode (J)", "J/step", "Phases by")
DIFFERENCES = {
    "attention": "Attention",
    "weight_format": "Weights",
    "optimizations": "Optimizations",
}
"""Columns of a condition that its short name leaves out; shown where the rows differ in them."""

OTHER_DIFFERENCES = {
    "vae": "VAE",
    "text_encoder": "Text encoder",
    "prompts": "Prompts",
    "work": "Work",
}
"""More of them, shown only where two rows would have one name without."""


def summary_table(analysis: Analysis) -> Table:
    """A row for each row of the summary, with the notes that belong to it."""
    summary = analysis.summary
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
    return Table(headings, rows, tuple(analysis.notes))


def phase_table(analysis: Analysis) -> Table:
    """Joules of a run's phases and of a step; no rows where nothing was measured."""
    differing = differing_columns(analysis.summary)
    rows = tuple(
        (
            *condition_cells(row, differing),
            *(plus_minus(row, metric) for metric in PHASE_METRICS),
            row["pooled_method"],
        )
        for row in analysis.summary.to_dict("records")
        if row["pooled_method"]
    )
    return Table((*condition_headings(differing), *PHASE_HEADINGS), rows)


def _any_broken(summary: pd.DataFrame) -> bool:
    return bool((summary["broken_pictures"] > 0).any())


def differing_columns(summary: pd.DataFrame) -> list[str]:
    """Those of :data:`DIFFERENCES` in which the rows differ, and what else tells them apart.

    Of the others and of the environment's columns only those without which two rows would have one
    name.
    """
    chosen = [column for column in DIFFERENCES if summary[column].nunique() > 1]
    named = summary.assign(name=[condition_name(row) for row in summary.to_dict("records")])
    for column in (*OTHER_DIFFERENCES, *ENVIRONMENT_COLUMNS):
        if _distinct(named, ["name", *chosen, column]) > _distinct(named, ["name", *chosen]):
            chosen.append(column)
    return chosen


def _distinct(summary: pd.DataFrame, columns: list[str]) -> int:
    return len(summary[columns].drop_duplicates())


def condition_headings(differing: Sequence[str]) -> tuple[str, ...]:
    """The headings of :func:`condition_cells`."""
    headings = {**DIFFERENCES, **OTHER_DIFFERENCES}
    return (HEADINGS[0], *(headings.get(column, column) for column in differing))


def condition_cells(row: dict[Any, Any], differing: Sequence[str]) -> tuple[str, ...]:
    """The name of a summary's row with what a reader must see first, and what sets it apart."""
    marks = ["[synthetic]"] if row["weights"] == "synthetic" else []
    marks += ["[fall-backs]"] if row["fallback_runs"] else []
    marks += ["[broken picture]"] if row["broken_pictures"] else []
    return (" ".join((condition_name(row), *marks)), *(_known(row[column]) for column in differing))


def _known(value: object) -> str:
    if isinstance(value, float):
        return BLANK if math.isnan(value) else f"{value:g}"
    return str(value) or BLANK


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
