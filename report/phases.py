"""Where the energy of a run goes: a second table, and ``steps.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..analysis.columns import (
    CONDITION_COLUMNS,
    ENVIRONMENT_COLUMNS,
    IDENTIFYING,
    PHASE_METRICS,
    RunRow,
)
from ..measure.energy.phases import step_profiles
from ..records import Run
from ..stats import by_visit, estimate
from ..tables.columns import cells
from .markdown import Table, condition_cells, condition_headings, differing_columns, plus_minus

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = ("Encode (J)", "Denoise (J)", "Decode (J)", "J/step", "Phases by")

STEP_COLUMNS = [
    *CONDITION_COLUMNS,
    "step",
    "n",
    *(
        f"{metric}_{part}"
        for metric in ("time_s", "energy_j")
        for part in ("mean", "stdev", "ci95")
    ),
    "energy_meter",
    "energy_method",
    *ENVIRONMENT_COLUMNS,
]


def phase_table(summary: pd.DataFrame) -> Table:
    """Joules of a run's phases and of a step; no rows where nothing was measured."""
    differing = differing_columns(summary)
    rows = tuple(
        (
            *condition_cells(row, differing),
            *(plus_minus(row, metric) for metric in PHASE_METRICS),
            row["pooled_method"],
        )
        for row in summary.to_dict("records")
        if row["pooled_method"]
    )
    return Table((*condition_headings(differing), *HEADINGS), rows, ())


def steps_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """A row a sampling step of a condition, with the columns :data:`STEP_COLUMNS`.

    Intervals are over the runs, or over the means of visits, as in :func:`.summary.summarise`.
    """
    import pandas as pd

    rows = []
    for profile in step_profiles(runs):
        run, visits = profile.runs[0], [run.visit for run in profile.runs]
        shared = {
            **cells(IDENTIFYING, RunRow(run)),
            "n": len(profile.runs),
            "energy_meter": profile.meter,
            "energy_method": profile.method,
        }
        columns = zip(
            zip(*profile.duration_s, strict=True), zip(*profile.energy_j, strict=True), strict=True
        )
        for step, (seconds, joules) in enumerate(columns, 1):
            statistics = {
                **_cells("time_s", by_visit(seconds, visits), "s"),
                **_cells("energy_j", by_visit(joules, visits), "J"),
            }
            rows.append({**shared, "step": step, **statistics})
    return pd.DataFrame(rows, columns=STEP_COLUMNS)


def _cells(metric: str, values: Sequence[float], unit: str) -> dict[str, float]:
    found = estimate(values, unit)
    return {
        f"{metric}_mean": found.value,
        f"{metric}_stdev": found.stdev,
        f"{metric}_ci95": found.half_width,
    }
