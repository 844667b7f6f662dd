"""A forecast beside what was measured: one line a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..stats import estimate, independent_values
from ..tables.decimals import in_figures, with_half_width
from .columns import CONDITION_COLUMNS, ENVIRONMENT_COLUMNS, condition_name

if TYPE_CHECKING:
    import pandas as pd

PREDICTION_COLUMNS = [
    "predicted_energy_j",
    "predicted_energy_low_j",
    "predicted_energy_high_j",
    "prediction_confidence",
    "prediction_source",
]


def prediction_notes(runs: pd.DataFrame) -> list[str]:
    """For every forecast among the runs that count: itself, what was measured, and its error.

    Energies are per image. A forecast whose runs have no energy says so.
    """
    counts = ~runs["is_warmup"] & (runs["error"] == "") & (runs["not_counted"] == "")
    counted = runs[counts & runs["predicted_energy_j"].notna()]
    keys = [*CONDITION_COLUMNS, *ENVIRONMENT_COLUMNS, *PREDICTION_COLUMNS, "energy_meter"]
    groups = counted.groupby(keys, dropna=False, sort=False)
    return [_note(group) for _, group in groups]


def _note(group: pd.DataFrame) -> str:
    first = group.iloc[0]
    value, low, high = (first[name] / first["batch_size"] for name in PREDICTION_COLUMNS[:3])
    text = (
        f"Forecast of {condition_name(first)}: {in_figures(value, 4)} J/img "
        f"({in_figures(low, 4)} to {in_figures(high, 4)}, "
        f"{first['prediction_confidence']:.0%} interval, {first['prediction_source']})"
    )
    measured = independent_values(group, "j_per_img")
    if not measured:
        return f"{text}; no energy was measured."
    found = estimate(measured, "J/img")
    result = with_half_width(found.value, found.half_width)
    error = f"{found.value / value - 1:+.1%}"
    place = "within" if low <= found.value <= high else "outside"
    kind = "estimated" if first["energy_method"] in ("estimated", "simulated") else "measured"
    return f"{text}; {kind} {result}: {error}, {place} the interval."
