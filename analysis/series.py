"""What charts of a summary show: the steps and repeats of each of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..records import Run
from ..stats import estimate, independent_values
from .columns import METRICS
from .summary import ConditionRuns

if TYPE_CHECKING:
    import pandas as pd

CHARTED_METRICS = ("img_per_s", "j_per_img")
FIGURES = 5
"""Significant figures of a value: a chart needs no more, and it travels with the workflow."""


def series_of(conditions: Sequence[ConditionRuns], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One entry for each condition; ``runs`` are those of all of them.

    Each holds ``step_times_s`` (mean over the repeats, empty where they differ in their number of
    steps) and ``repeats`` (of a metric: its ``unit``, ``values``, and ``mean``, ``low`` and
    ``high`` of the 95 % Student-t interval, ``None`` where there is but one value).
    """
    by_id = {run.run_id: run for run in runs}
    return [
        {
            "step_times_s": _step_times_s([by_id[run_id] for run_id in measured["run_id"]]),
            "repeats": [
                repeats for metric in CHARTED_METRICS if (repeats := _repeats(measured, metric))
            ],
        }
        for _, _, measured in conditions
    ]


def _step_times_s(runs: Sequence[Run]) -> list[float]:
    """Mean duration of each step; several samplings of one run follow each other."""
    steps = [
        [
            end_s - start_s
            for phase in run.phases
            for start_s, end_s in pairwise((phase.start_s, *phase.step_ends_s))
        ]
        for run in runs
    ]
    if len({len(durations) for durations in steps}) != 1:
        return []
    return [_short(fmean(step)) for step in zip(*steps, strict=True)]


def _repeats(measured: pd.DataFrame, metric: str) -> dict[str, Any] | None:
    values = [float(value) for value in measured[metric].dropna()]
    if not values:
        return None
    result = estimate(independent_values(measured, metric), METRICS[metric])
    has_interval = result.n > 1
    return {
        "unit": METRICS[metric],
        "values": [_short(value) for value in values],
        "mean": _short(result.value),
        "low": _short(result.ci_low) if has_interval else None,
        "high": _short(result.ci_high) if has_interval else None,
    }


def _short(value: float) -> float:
    return float(f"{value:.{FIGURES}g}")
