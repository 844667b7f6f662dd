"""What the reader of a summary must know, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .columns import ENVIRONMENT_COLUMNS, condition_name
from .comparison import NOT_ALL_PAIRED
from .kernels_and_pictures import fallback_notes, picture_notes
from .notes import run_notes
from .prediction import prediction_notes
from .protocol import protocol_notes
from .summary import OVER_VISITS

if TYPE_CHECKING:
    import pandas as pd


def statements(summary: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """On a summary and the runs behind it, each once."""
    notes = [*_on_the_table(summary, runs)]
    notes += prediction_notes(runs)
    notes += protocol_notes(runs)
    notes += run_notes(runs)
    notes += [*fallback_notes(runs), *picture_notes(runs)]
    failed = runs[runs["error"] != ""]
    notes += [
        f"{len(group)} failed of {condition_name(group.iloc[0])}: {error}"
        for (_, error), group in failed.groupby(["condition", "error"], sort=False)
    ]
    return list(dict.fromkeys(notes))


def _on_the_table(summary: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
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
        notes += [
            f"× of {_told_apart(row)}: {row['comparison_note']}."
            for row in summary.to_dict("records")
            if NOT_ALL_PAIRED in str(row["comparison_note"])
        ]
    return notes


def _told_apart(row: dict[Any, Any]) -> str:
    """A condition with what it was asked to compute with, in which compared rows differ."""
    with_what = (row["attention"], row["weight_format"], row["optimizations"])
    return f"{condition_name(row)} ({', '.join(part for part in with_what if part)})"
