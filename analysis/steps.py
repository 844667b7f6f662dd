"""``steps.csv``: seconds and joules of each sampling step of a condition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..measure.energy.phases import StepProfile
from ..stats import by_visit, estimate
from ..tables.columns import cells
from .columns import CONDITION_COLUMNS, ENVIRONMENT_COLUMNS, IDENTIFYING, RunRow
from .runs_table import DTYPES

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("mean", "stdev", "ci95")

STEP_COLUMNS = [
    *CONDITION_COLUMNS,
    "sampling",
    "step",
    "n",
    *(f"{metric}_{part}" for metric in ("time_s", "energy_j") for part in PARTS),
    "energy_meter",
    "energy_method",
    *ENVIRONMENT_COLUMNS,
]


def steps_frame(profiles: Sequence[StepProfile]) -> pd.DataFrame:
    """A row a sampling step of a condition, with the columns :data:`STEP_COLUMNS`.

    Intervals are over the runs, or over the means of visits, as in :func:`.summary.summarise`.
    """
    import pandas as pd

    rows = []
    for profile in profiles:
        run, visits = profile.runs[0], [run.process_id for run in profile.runs]
        shared = {
            **cells(IDENTIFYING, RunRow(run)),
            "n": len(profile.runs),
            "energy_meter": profile.meter,
            "energy_method": profile.method,
        }
        columns = zip(
            zip(*profile.duration_s, strict=True), zip(*profile.energy_j, strict=True), strict=True
        )
        samplings = [
            number
            for number, phase in enumerate((p for p in run.phases if p.name == "denoise"), 1)
            for _ in phase.step_ends_s
        ]
        for step, (seconds, joules) in enumerate(columns, 1):
            statistics = {
                **_cells("time_s", by_visit(seconds, visits), "s"),
                **_cells("energy_j", by_visit(joules, visits), "J"),
            }
            rows.append({**shared, "sampling": samplings[step - 1], "step": step, **statistics})
    frame = pd.DataFrame(rows, columns=STEP_COLUMNS)
    return frame.astype({c.name: DTYPES[c.type] for c in IDENTIFYING if c.type != "text"})


def _cells(metric: str, values: Sequence[float], unit: str) -> dict[str, float]:
    found = (math.nan,) * len(PARTS)
    if values:
        known = estimate(values, unit)
        found = known.value, known.stdev, known.half_width
    return {f"{metric}_{part}": value for part, value in zip(PARTS, found, strict=True)}
