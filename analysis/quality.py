"""Picture metrics over prompts and seeds, against energy: what a lost point of quality saves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..quality import METRICS
from ..quality.base import Metric
from ..records import Estimate
from ..stats import estimate, independent_values

if TYPE_CHECKING:
    import pandas as pd

PICTURE = ["prompt_id", "seed"]
"""What a condition makes one picture of."""


@dataclass(frozen=True)
class QualityPoint:
    """What an image of a condition takes and how good it is; ``row`` is its place in the summary.

    ``lost`` is how much worse than the first condition its pictures are, in points of the metric,
    over pairs of the same prompt and seed. ``saved_j_per_point`` is what each lost point saves,
    between its bounds; where it is ``None``, ``note`` says why. ``left_out`` says why it stands on
    no front.
    """

    row: int
    energy_j: Estimate
    quality: Estimate
    lost: Estimate | None
    saved_j_per_point: tuple[float, float, float] | None
    note: str
    left_out: str
    is_on_front: bool = False


def quality_estimate(measured: pd.DataFrame, metric: str, unit: str) -> Estimate | None:
    """Mean of a metric over a condition's pictures; ``None`` where none has a value.

    A picture is a prompt with a seed: repeats of it, in other processes for one, tell nothing new
    and count once. Each prompt weighs the same. Seeds of one prompt are alike, so that the interval
    is over the means of the prompts where there are several, else over the seeds; ``n`` and
    ``stdev`` are those of the pictures.
    """
    return _over_prompts(_pictures(measured, metric), unit)


def quality_points(
    group: Sequence[tuple[int, pd.DataFrame, str]], metric: Metric
) -> list[QualityPoint]:
    """Energy against one metric, for conditions of the same prompts; the first is the baseline.

    Args:
        group: rows of the summary, their runs, and why they can be no saving, empty where they can.
        metric: one of which a value is better than another.
    """
    found: list[QualityPoint] = []
    baseline: tuple[Estimate, pd.Series] | None = None
    for row, measured, left_out in group:
        pictures = _pictures(measured, f"quality_{metric.name}")
        quality = _over_prompts(pictures, metric.unit)
        joules = independent_values(measured, "j_per_img")
        if quality is None or not joules:
            continue
        energy = estimate(joules, "J/img")
        if baseline is None:
            baseline = energy, pictures
            lost, saved, note = None, None, "baseline"
        else:
            lost, saved, note = _price(metric, baseline, (energy, pictures))
        found.append(QualityPoint(row, energy, quality, lost, saved, note, left_out))
    return _with_front(found, metric)


def judged_metrics() -> list[Metric]:
    """The metrics of which one value is better than another."""
    return [metric for metric in METRICS if metric.better != "neither"]


def _pictures(measured: pd.DataFrame, metric: str) -> pd.Series:
    known = measured.loc[measured[metric].notna(), [*PICTURE, metric]]
    if known.empty:  # As most metrics are of most conditions: no need to group nothing.
        return known.set_index(PICTURE)[metric]
    return known.groupby(PICTURE, dropna=False)[metric].mean()


def _over_prompts(pictures: pd.Series, unit: str) -> Estimate | None:
    if pictures.empty:
        return None
    prompts = pictures.groupby(level="prompt_id").mean()
    alone = estimate(pictures.tolist(), unit)
    if len(prompts) < 2:
        return alone
    return replace(estimate(prompts.tolist(), unit), n=alone.n, stdev=alone.stdev)


def _price(
    metric: Metric, baseline: tuple[Estimate, pd.Series], own: tuple[Estimate, pd.Series]
) -> tuple[Estimate | None, tuple[float, float, float] | None, str]:
    (first_j, first), (second_j, second) = baseline, own
    sign = 1 if metric.better == "higher" else -1
    paired = (sign * (first - second) / metric.point).dropna()
    lost = _over_prompts(paired, "points")
    if lost is None:
        return None, None, "no picture of the same prompt and seed as the baseline's"
    if math.isnan(lost.half_width):
        return lost, None, "one pair of pictures has no interval"
    if lost.ci_low <= 0:
        told = "better" if lost.ci_high < 0 else "no worse that could be told"
        return lost, None, f"its pictures are {told}"
    saved_j = first_j.value - second_j.value
    spread = math.hypot(
        *(0 if math.isnan(e.half_width) else e.half_width for e in (first_j, second_j))
    )
    if saved_j - spread <= 0:
        return lost, None, "it takes no less energy that could be told"
    bounds = ((saved_j - spread) / lost.ci_high, (saved_j + spread) / lost.ci_low)
    return lost, (saved_j / lost.value, *bounds), ""


def _with_front(points: Sequence[QualityPoint], metric: Metric) -> list[QualityPoint]:
    """By the means alone: on the front is what no other beats in energy and quality."""
    sign = -1 if metric.better == "higher" else 1

    def costs(point: QualityPoint) -> tuple[float, float]:
        return point.energy_j.value, sign * point.quality.value

    able = [costs(point) for point in points if not point.left_out]
    return [
        replace(
            point,
            is_on_front=not point.left_out
            and not any(
                other != costs(point)
                and other[0] <= costs(point)[0]
                and other[1] <= costs(point)[1]
                for other in able
            ),
        )
        for point in points
    ]
