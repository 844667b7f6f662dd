"""Energy against time: which conditions no other one beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..quality.base import Metric
from ..records import Estimate
from ..stats import estimate, independent_values
from .columns import ENVIRONMENT_COLUMNS
from .comparison import WORKLOAD_COLUMNS
from .quality import QualityPoint, judged_metrics, quality_points
from .summary import ConditionRuns

if TYPE_CHECKING:
    import pandas as pd

COMPARABLE = [*WORKLOAD_COLUMNS, *ENVIRONMENT_COLUMNS, "energy_meter"]
"""Fronts are of conditions that are equal in these: others did other work, or elsewhere."""


PICTURED = ["width_px", "height_px", "frames", "prompts", *ENVIRONMENT_COLUMNS, "energy_meter"]
"""Energy is held against quality where these are equal: of any model, steps and format."""


@dataclass(frozen=True)
class TradeOff:
    """What an image of a condition takes; ``row`` is its place in the summary.

    ``left_out`` says why it stands on no front although it was measured: a broken picture is no
    saving, and what fell back is not what its name says. ``is_on_front`` is by the means alone.
    """

    row: int
    time_s: Estimate
    energy_j: Estimate
    left_out: str = ""
    is_on_front: bool = False


def trade_offs(conditions: Sequence[ConditionRuns]) -> list[TradeOff]:
    """A point for each condition whose time and energy of an image were both measured."""
    groups: dict[tuple[str, ...], list[TradeOff]] = {}
    for row, (_, _, measured) in enumerate(conditions):
        times_s = independent_values(measured, "s_per_img")
        energies_j = independent_values(measured, "j_per_img")
        if times_s and energies_j:
            point = TradeOff(
                row,
                estimate(times_s, "s/img"),
                estimate(energies_j, "J/img"),
                left_out_because(measured),
            )
            groups.setdefault(tuple(map(str, measured.iloc[0][COMPARABLE])), []).append(point)
    return sorted((p for group in groups.values() for p in _marked(group)), key=lambda p: p.row)


def quality_trade_offs(
    conditions: Sequence[ConditionRuns],
) -> list[tuple[Metric, list[QualityPoint]]]:
    """Energy against each metric that was measured; a list for each set of like pictures."""
    groups: dict[tuple[str, ...], list[tuple[int, pd.DataFrame, str]]] = {}
    for row, (_, _, measured) in enumerate(conditions):
        if len(measured):
            key = tuple(map(str, measured.iloc[0][[*PICTURED, "quality_models"]]))
            entry = row, measured, left_out_because(measured)
            groups.setdefault(key, []).append(entry)
    found = [
        (metric, quality_points(group, metric))
        for metric in judged_metrics()
        for group in groups.values()
    ]
    return [(metric, points) for metric, points in found if points]


def left_out_because(measured: pd.DataFrame) -> str:
    """Why the runs of a condition can be no saving; empty where they can."""
    if (measured["picture_fault"] != "").any():
        return "broken picture"
    if ((measured["attention_fallbacks"] != "") | (measured["linear_fallbacks"] != "")).any():
        return "another kernel than the requested one ran"
    return ""


def front(costs: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each pair of costs is beaten by none: no other is as low in both, lower in one."""
    unbeaten = set()
    least = math.inf
    for x, y in sorted(set(costs)):
        if y < least:
            unbeaten.add((x, y))
            least = y
    return [cost in unbeaten for cost in costs]


def _marked(points: Sequence[TradeOff]) -> list[TradeOff]:
    running = [point for point in points if not point.left_out]
    on_front = front([(point.time_s.value, point.energy_j.value) for point in running])
    marked = dict(zip((point.row for point in running), on_front, strict=True))
    return [replace(point, is_on_front=marked.get(point.row, False)) for point in points]
