"""Where the time and the energy of a run go: the second table of Show Summary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..analysis.summary import conditions
from ..records import COMPUTE_PHASES
from ..stats import estimate, independent_values
from .markdown import (
    BLANK,
    Table,
    condition_cells,
    condition_headings,
    differing_columns,
    plus_minus,
)

if TYPE_CHECKING:
    import pandas as pd

TIMES = tuple(f"{name}_time_s" for name in COMPUTE_PHASES)
ENERGIES = tuple(f"{name}_pooled_j" for name in COMPUTE_PHASES)
IDLE = ("idle_power_before_w", "idle_power_after_w")

ESTIMATED = {
    "load_time_s": "Load (s)",
    **dict(zip(TIMES, ("Encode (s)", "Denoise (s)", "Decode (s)"), strict=True)),
    "s_per_step": "s/step",
    **dict(zip(ENERGIES, ("Encode (J)", "Denoise (J)", "Decode (J)"), strict=True)),
    "j_per_step": "J/step",
    "net_j_per_img": "Net J/img",
}
"""Columns with a mean and an interval, each with its heading."""

IDLE_HEADING = "Idle power before / after (W)"
METHOD_HEADING = "Phases by"


def breakdown_table(frame: pd.DataFrame, summary: pd.DataFrame) -> Table:
    """A row for each row of ``summary``, which is the summary of ``frame``.

    Cells are mean ± half width of the 95 % interval. Times and energies of a phase also have its
    share of encoding, denoising and decoding. Energies of phases and steps are pooled over the
    repeats (:mod:`..pooling`); net is less idle power, which may leave a negative number.
    """
    differing = differing_columns(summary)
    rows = tuple(
        (*condition_cells(row, differing), *_cells(measured), row["pooled_method"] or BLANK)
        for row, measured in zip(summary.to_dict("records"), measured_parts(frame), strict=True)
    )
    headings = (*ESTIMATED.values(), IDLE_HEADING, METHOD_HEADING)
    return Table((*condition_headings(differing), *headings), rows, ())


def measured_parts(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """The runs behind each row, with the columns of :data:`ESTIMATED`."""
    return [
        measured.assign(
            s_per_step=measured["denoise_time_s"] / measured["steps"].astype("float64"),
            net_j_per_img=measured["energy_net_j"] / measured["batch_size"].astype("float64"),
        )
        for _, _, measured in conditions(frame)
    ]


def _cells(measured: pd.DataFrame) -> list[str]:
    shares = {**_shares(measured, TIMES), **_shares(measured, ENERGIES)}
    cells = [_estimated(measured, column) + shares.get(column, "") for column in ESTIMATED]
    return [*cells, _idle(measured)]


def _estimated(measured: pd.DataFrame, column: str) -> str:
    values = independent_values(measured, column)
    if not values:
        return BLANK
    result = estimate(values, "")
    return plus_minus({f"{column}_mean": result.value, f"{column}_ci95": result.half_width}, column)


def _shares(measured: pd.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    """What each column is of their sum; nothing where one of them is not known."""
    means = {column: float(measured[column].mean()) for column in columns}
    total = sum(means.values())
    if not total > 0:
        return {}
    return {column: f" ({100 * mean / total:.0f} %)" for column, mean in means.items()}


def _idle(measured: pd.DataFrame) -> str:
    """Means: all runs of one experiment share one measurement, so they have no interval."""
    means: dict[Any, float] = {column: float(measured[column].mean()) for column in IDLE}
    if all(math.isnan(mean) for mean in means.values()):
        return BLANK
    return " / ".join(BLANK if math.isnan(mean) else f"{mean:.1f}" for mean in means.values())
