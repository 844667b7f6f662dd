"""What the reader of a summary must know, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .columns import ENVIRONMENT_COLUMNS, QUALITY_METRICS, condition_name
from .comparison import BASELINE, NOT_ALL_PAIRED
from .kernels_and_pictures import fallback_notes, picture_notes
from .labels import labels_of
from .notes import run_notes
from .prediction import prediction_notes
from .protocol import protocol_notes
from .summary import OVER_VISITS
from .waiting import waiting_notes

if TYPE_CHECKING:
    import pandas as pd


def statements(summary: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """On a summary and the runs behind it, each once."""
    notes = [*_on_the_table(summary, runs)]
    notes += prediction_notes(runs)
    notes += protocol_notes(runs)
    notes += waiting_notes(runs)
    notes += run_notes(runs)
    notes += [*fallback_notes(runs), *picture_notes(runs), *failures(runs)]
    return list(dict.fromkeys(notes))


def failures(runs: pd.DataFrame) -> list[str]:
    """Why runs failed, each reason of a condition once."""
    failed = runs[runs["error"] != ""]
    return [
        f"{len(group)} failed of {condition_name(group.iloc[0])}: {error}"
        for (_, error), group in failed.groupby(["condition", "error"], sort=False)
    ]


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
        made_up = summary[summary["weights"] == "synthetic"]
        if any((made_up[f"{metric}_n"] > 0).any() for metric in QUALITY_METRICS):
            notes.append("Qualities of [synthetic] pictures tell nothing of good and bad.")
    differing = [
        column for column in ENVIRONMENT_COLUMNS if summary[column].nunique(dropna=False) > 1
    ]
    if differing:
        notes.append(f"Rows are of different environments, by {', '.join(differing)}.")
    if summary["pairs"].notna().any():
        labels = labels_of(summary)[1]
        baselines = "; ".join(
            label
            for label, note in zip(labels, summary["comparison_note"], strict=True)
            if note == BASELINE
        )
        notes.append(
            f"× is the ratio to the baseline ({baselines}) over runs of the same seed, with its "
            "95 % interval."
        )
        notes += [
            f"× of {label}: {note}."
            for label, note in zip(labels, summary["comparison_note"], strict=True)
            if NOT_ALL_PAIRED in str(note)
        ]
    return notes
