"""Race to idle: is it cheaper to run fast and wait, or to run slowly under a power cap?

The model. One image is wanted every T seconds. A card that takes t seconds and E joules for it
waits the rest at idle power P0, so the image costs E + P0 (T - t). Under a cap t is longer and E
another; the difference between two caps, (E1 - E2) - P0 (t1 - t2), does not depend on T. Assumed:
idle power is the same under every cap, going to sleep and waking cost nothing, and the card keeps
nothing else busy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..records import Estimate
from ..stats import estimate, independent_values
from ..tables.csv import is_blank, read_frame
from .cost import JOULES_PER_KWH

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS = (
    "condition", "gpu_name", "energy_meter", "energy_method", "is_warmup", "error",
    "power_limit_w", "j_per_img", "img_per_s", "process_id",
)  # fmt: skip
IDLE_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class CapPoint:
    """One power cap: joules and seconds of one image, and where they come from."""

    label: str
    energy: Estimate
    time_s: float
    source: str

    @property
    def power_w(self) -> float:
        """Mean power while it runs."""
        return self.energy.value / self.time_s


def energy_with_idle(point: CapPoint, period_s: float, idle_power_w: float) -> float | None:
    """Joules of an image every ``period_s`` seconds, or ``None`` where the card is too slow."""
    idle_s = period_s - point.time_s
    # Periods are computed from these times, so the fastest card may miss its own by rounding.
    if idle_s < -1e-9 * period_s:
        return None
    return point.energy.value + idle_power_w * max(idle_s, 0.0)


def period(points: Sequence[CapPoint], idle_share: float) -> float:
    """Seconds between images so that the fastest card idles that share of the time.

    Raises:
        ValueError: a share outside [0, 1), or no points.
    """
    if not points or not 0 <= idle_share < 1:
        raise ValueError(f"an idle share from 0 to below 1 and a card are needed, got {idle_share}")
    return min(point.time_s for point in points) / (1 - idle_share)


def idle_power_that_pays(fast: CapPoint, slow: CapPoint) -> tuple[float, float]:
    """Idle power in watts above which the slow cap is cheaper, and the half width of its interval.

    It does not depend on the idle share, and is negative where the slow cap is cheaper at any idle
    power. The half width is that of the energies, in quadrature; NaN where one has no interval.

    Raises:
        ValueError: ``slow`` is not slower.
    """
    if slow.time_s <= fast.time_s:
        raise ValueError(f"{slow.label} is not slower than {fast.label}")
    longer_s = slow.time_s - fast.time_s
    half_j = math.hypot(slow.energy.half_width, fast.energy.half_width)
    return (slow.energy.value - fast.energy.value) / longer_s, half_j / longer_s


def points_of_runs(table: pd.DataFrame) -> tuple[CapPoint, ...]:
    """A point for each ``power_limit_w`` of a ``runs.csv`` of one condition on one card.

    Raises:
        ValueError: no such table, several conditions or cards, no power limits, or no energies.
    """
    if "process_id" not in table:
        # Tables of schema 1 number the visits of a server, each a process of its own.
        table = table.rename(columns={"visit": "process_id"})
    missing = [name for name in RUN_COLUMNS if name not in table]
    if missing:
        raise ValueError(f"this is no runs.csv of WattBench: it lacks {', '.join(missing)}")
    counted = table[~table["is_warmup"].astype(bool) & is_blank(table["error"])]
    counted = counted[
        counted["power_limit_w"].notna()
        & counted["j_per_img"].notna()
        & counted["img_per_s"].notna()
    ]
    if counted.empty:
        raise ValueError("no run has a power limit, an energy and a speed")
    for column in ("condition", "gpu_name", "energy_meter"):
        if counted[column].nunique() > 1:
            names = ", ".join(map(str, counted[column].unique()))
            raise ValueError(f"runs of several values of {column}: {names}; give those of one")
    return tuple(
        CapPoint(
            f"{limit:g} W",
            estimate(independent_values(group, "j_per_img"), "J/img"),
            float((1 / group["img_per_s"]).mean()),
            f"{len(group)} runs ({group['energy_method'].iloc[0]})",
        )
        for limit, group in counted.groupby("power_limit_w")
    )


STUDY_WORKLOADS = {"sdxl-illustrious": 30, "z-image-turbo": 8}
"""Steps of an image in the published tables."""
STUDY_CAPS = {"RTX 3090": "RTX 3090, no cap", "RTX 3090 @ 180W": "RTX 3090, 180 W"}
STUDY_REPEATS = 10


def points_of_study(workload: str, table_path: Path) -> tuple[CapPoint, ...]:
    """The published RTX 3090 with and without a cap of 180 W.

    Its times are of denoising only: steps over the published it/s. Its interval is that of ten
    repeats.

    Raises:
        ValueError: a workload that was not published.
    """
    from ..stats import student_t

    if workload not in STUDY_WORKLOADS:
        raise ValueError(f"no workload {workload!r}; there are {', '.join(STUDY_WORKLOADS)}")
    table = read_frame(table_path)
    table = table[table["workload"] == workload].set_index("gpu")
    points = []
    for gpu, label in STUDY_CAPS.items():
        row = table.loc[gpu]
        value = JOULES_PER_KWH / float(row["img_per_kwh"])
        stdev = value * float(row["img_per_kwh_stdev"]) / float(row["img_per_kwh"])
        half = student_t(STUDY_REPEATS - 1, 0.95) * stdev / STUDY_REPEATS**0.5
        energy = Estimate(value, value - half, value + half, 0.95, STUDY_REPEATS, "J/img", stdev)
        time_s = STUDY_WORKLOADS[workload] / float(row["it_per_s"])
        points.append(CapPoint(label, energy, time_s, f"published, {row['source']}"))
    return tuple(points)
