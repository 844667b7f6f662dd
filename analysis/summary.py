"""A row a condition: means with their spread and Student-t interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..records import Estimate
from ..stats import estimate, independent_values
from .baseline import baseline_first
from .columns import ALL_METRICS, CONDITION_COLUMNS, ENVIRONMENT_COLUMNS, QUALITY_METRICS
from .comparison import COMPARISON_COLUMNS, comparisons
from .quality import quality_estimate

if TYPE_CHECKING:
    import pandas as pd

GROUP_COLUMNS = [*CONDITION_COLUMNS, *ENVIRONMENT_COLUMNS]
"""Runs are pooled only where all of these are equal, and their energy comes from one meter."""

SOURCE_COLUMNS = ["energy_meter", "energy_method", "pooled_method", "vram_source"]

SUMMARY_COLUMNS = [
    *CONDITION_COLUMNS,
    "n",
    "failed",
    "visits",
    "interval_over",
    *(f"{metric}_{part}" for metric in ALL_METRICS for part in ("mean", "stdev", "ci95", "n")),
    "fallback_runs",
    "broken_pictures",
    *COMPARISON_COLUMNS,
    *SOURCE_COLUMNS,
    *ENVIRONMENT_COLUMNS,
]

OVER_REPEATS = "repeats"
OVER_VISITS = "visit means"


class ConditionRuns(NamedTuple):
    """The runs behind a row of a summary.

    ``identity`` is what they have in common, ``failed`` how many failed, ``measured`` are the
    others. Warm-ups are left out.
    """

    identity: dict[str, object]
    failed: int
    measured: pd.DataFrame


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Summary of a table of runs, with the columns :data:`SUMMARY_COLUMNS`.

    Warm-ups and failed runs are left out; ``n`` counts the runs that remain, ``failed`` the failed
    ones. With runs from more than one visit (server process) the statistics are taken over the
    means of the visits, as ``interval_over`` says, because repeats within one process share its
    state and are not independent. Each metric has ``_mean``, ``_stdev`` (n-1), ``_ci95`` (half
    width of the Student-t interval) and ``_n``, the number of values behind these; a blank means
    that nothing, or for the last two only one value, was measured. Qualities of pictures are over
    prompts and seeds, see :func:`.quality.quality_estimate`. ``fallback_runs`` counts runs in
    which another kernel than the requested one ran, ``broken_pictures`` those whose picture is.
    """
    found = conditions(runs)
    return summary_of(found, comparisons([condition.measured for condition in found]))


def summary_of(
    found: Sequence[ConditionRuns], compared: Sequence[dict[str, object]]
) -> pd.DataFrame:
    """As :func:`summarise`, of conditions with their comparisons to the first."""
    import pandas as pd

    rows = [
        {**c.identity, "failed": c.failed, **_statistics(c.measured), **comparison}
        for c, comparison in zip(found, compared, strict=True)
    ]
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def conditions(runs: pd.DataFrame) -> list[ConditionRuns]:
    """The runs behind each row of the summary of a table, the baseline's first."""
    found = list(_conditions(runs))
    return [found[row] for row in baseline_first([condition.measured for condition in found])]


def _conditions(runs: pd.DataFrame) -> Iterator[ConditionRuns]:
    import numpy as np

    repeats = runs[~runs["is_warmup"]]
    group = repeats.groupby(GROUP_COLUMNS, dropna=False, sort=False).ngroup().to_numpy()
    has_failed = (repeats["error"] != "").to_numpy()
    is_good = ~has_failed & (repeats["not_counted"] == "").to_numpy()
    order = np.argsort(group, kind="stable")
    borders = np.flatnonzero(np.diff(group[order], prepend=-1))
    firsts = repeats.iloc[order[borders]]
    # Not by records: they would make floats of whole numbers beside a blank.
    identities = list(zip(*(firsts[column].tolist() for column in GROUP_COLUMNS), strict=True))
    for key, places in zip(identities, np.split(order, borders[1:]), strict=False):
        identity = dict(zip(GROUP_COLUMNS, key, strict=True))
        failed = int(has_failed[places].sum())
        for measured in by_meter(repeats.iloc[places[is_good[places]]]):
            yield ConditionRuns(identity, failed, measured)


def by_meter(measured: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """One table for each meter, so that an estimate never joins a measurement.

    A run without energy still has a speed: where there is one meter it stays with the others.
    """
    if len({*measured["energy_meter"].unique()} - {""}) < 2:
        yield measured
        return
    for _, group in measured.groupby("energy_meter", sort=False):
        yield group


def _statistics(measured: pd.DataFrame) -> dict[str, object]:
    visits = int(measured["process_id"].nunique())
    row: dict[str, object] = {
        "n": len(measured),
        "visits": visits,
        "interval_over": OVER_VISITS if visits > 1 else OVER_REPEATS,
    }
    for metric in ALL_METRICS:
        row.update(_estimate_cells(metric, _estimate(measured, metric)))
    fallen = (measured["attention_fallbacks"] != "") | (measured["linear_fallbacks"] != "")
    row["fallback_runs"] = int(fallen.sum())
    row["broken_pictures"] = int((measured["picture_fault"] != "").sum())
    for column in SOURCE_COLUMNS:
        row[column] = ", ".join(sorted({str(value) for value in measured[column].unique()} - {""}))
    return row


def _estimate(measured: pd.DataFrame, metric: str) -> Estimate | None:
    if metric in QUALITY_METRICS:
        return quality_estimate(measured, metric, QUALITY_METRICS[metric])
    values = independent_values(measured, metric)
    return estimate(values, ALL_METRICS[metric]) if values else None


def _estimate_cells(metric: str, result: Estimate | None) -> dict[str, object]:
    if result is None:
        return {f"{metric}_n": 0}
    return {
        f"{metric}_mean": result.value,
        f"{metric}_stdev": _known(result.stdev),
        f"{metric}_ci95": _known(result.half_width),
        f"{metric}_n": result.n,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
