"""Energy against quality as tables."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.quality import QualityPoint
from ..quality.base import Metric
from ..tables.decimals import in_figures, with_half_width
from ..tables.table import BLANK, Table

QUALITY_NOTES = (
    "Qualities are means over prompts and seeds. A loss is over pictures of the same prompt and "
    "seed as the first row's; a price has bounds from both intervals.",
    "On the front is what no other beats in energy and quality, by the means alone.",
)


def title_of(metric: Metric) -> str:
    """The metric's name with its unit and which way is better."""
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.name}{unit}, {metric.better} is better"


def quality_table(metric: Metric, points: Sequence[QualityPoint], names: Sequence[str]) -> Table:
    """A row a condition; ``names`` are those of the summary's rows."""
    point = f"{metric.point:g} {metric.unit}".strip()
    headings = (
        "Condition",
        "J/img",
        title_of(metric),
        f"Lost, in points of {point}",
        "J saved by a lost point",
        "On the front",
    )
    rows = tuple(
        (
            names[p.row],
            with_half_width(p.energy_j.value, p.energy_j.half_width),
            with_half_width(p.quality.value, p.quality.half_width),
            with_half_width(p.lost.value, p.lost.half_width) if p.lost else BLANK,
            _price(p),
            "yes" if p.is_on_front else p.left_out or "no",
        )
        for p in points
    )
    return Table(headings, rows)


def _price(point: QualityPoint) -> str:
    if point.saved_j_per_point is None:
        return point.note
    value, low, high = (in_figures(joules, 3) for joules in point.saved_j_per_point)
    return f"{value} ({low} to {high})"
