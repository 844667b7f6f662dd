"""Where the time and the energy of a condition's runs go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..records import COMPUTE_PHASES, Estimate
from ..stats import estimate, independent_values

if TYPE_CHECKING:
    import pandas as pd

TIMES = tuple(f"{name}_time_s" for name in COMPUTE_PHASES)
ENERGIES = tuple(f"{name}_pooled_j" for name in COMPUTE_PHASES)
IDLE = ("idle_power_before_w", "idle_power_after_w")
"""All runs of one experiment share one measurement, so their interval means nothing."""

ESTIMATED = {
    "load_time_s": "s",
    **dict.fromkeys(TIMES, "s"),
    "s_per_step": "s/step",
    **dict.fromkeys(ENERGIES, "J"),
    "j_per_step": "J/step",
    "net_j_per_img": "J/img",
    **dict.fromkeys(IDLE, "W"),
}
"""What is estimated, each with its unit; ``s_per_step`` and ``net_j_per_img`` are of this table."""


def parts_of(measured: pd.DataFrame) -> dict[str, Estimate]:
    """An estimate of each of :data:`ESTIMATED` that was measured, over a condition's runs."""
    whole = measured.assign(
        s_per_step=measured["denoise_time_s"] / measured["steps"].astype("float64"),
        net_j_per_img=measured["energy_net_j"] / measured["batch_size"].astype("float64"),
    )
    found = {}
    for column, unit in ESTIMATED.items():
        is_shared = column in IDLE
        values = list(whole[column].dropna()) if is_shared else independent_values(whole, column)
        if values:
            found[column] = estimate(values, unit)
    return found
