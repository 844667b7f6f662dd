"""The result card and the comparison as blocks of a page; they look as those of ``web/``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..analysis.glance import Axis, Compared, Glance
from ..tables.decimals import with_half_width
from ..tables.table import BLANK
from .blanks import blank_reasons
from .page import MOST_ROWS, Block, Page, cut
from .summary import GIB, summary_table

NAMES = {
    "s_per_img": "Time per image",
    "j_per_img": "Energy per image",
    "peak_vram_bytes": "Peak VRAM",
}
"""In the order in which they stand on the card."""

HEADINGS = {"j_per_img": "J/img", "s_per_img": "s/img", "peak_vram_bytes": "Peak VRAM (GiB)"}
"""Under which heading of the summary a measure of the card stands."""


def glance_blocks(page: Page, glance: Glance, *, leads: bool) -> Iterator[Block]:
    """The card, with the verdict where it ``leads``, and the comparison where there are several."""
    is_alone = len(glance.labels) == 1
    verdict = glance.verdict if leads else ()
    if leads and not verdict:
        verdict = ("There is one condition, and nothing to compare it with.",)
    by_name = {one.measure.column: one for one in glance.compared}
    reasons = blank_reasons(summary_table(page.shown), page.shown)[glance.row]
    missing = {
        reasons.get(HEADINGS[name], ""): None
        for name, one in by_name.items()
        if one.values[glance.row] is None
    }
    yield {
        "kind": "card",
        "leads": [page.t(text) for text in verdict],
        "label": "" if is_alone else page.labels[glance.row],
        "common": glance.common,
        "figures": [_figure(page, glance, by_name[name]) for name in NAMES],
        "reasons": [f"{BLANK} {page.t(reason)}" for reason in missing if reason],
        "where": page.t(glance.where),
        "asides": [page.t(text) for text in glance.asides if leads],
    }
    if not is_alone:
        measures = [_compared(page, glance, one) for one in glance.compared if one.axis]
        yield {"kind": "comparison", "measures": measures}


def _figure(page: Page, glance: Glance, one: Compared) -> dict[str, str]:
    name, found = page.t(NAMES[one.measure.column]), one.values[glance.row]
    if found is None:
        return {"name": name, "value": BLANK, "rest": ""}
    mean, _, half = with_half_width(found.value, found.half_width).partition(" ± ")
    beside = ""
    if one.measure.column == "j_per_img":
        beside = glance.energy_from
    elif one.measure.column == "peak_vram_bytes" and glance.vram_total_bytes is not None:
        beside = f"of {glance.vram_total_bytes / GIB:.1f} GiB"
    rest = " · ".join(filter(None, (f"± {half}" if half else "", beside)))
    return {"name": name, "value": page.t(f"{mean} {one.measure.unit}"), "rest": page.t(rest)}


def _compared(page: Page, glance: Glance, one: Compared) -> dict[str, Any]:
    axis = one.axis
    if axis is None:
        raise ValueError("there is nothing to draw")
    rows = []
    for number, (label, found) in enumerate(zip(page.labels, one.values, strict=True)):
        if number >= MOST_ROWS:
            break
        marks, amount = [], BLANK
        if found is not None:
            left, right = (_place(axis, end) for end in (found.ci_low, found.ci_high))
            if left == left and right == right:
                marks.append(_mark("wattbench-spread", left, f"{right - left:.3f}%"))
            marks.append(_mark("wattbench-dot", _place(axis, found.value), "10px"))
            amount = with_half_width(found.value, found.half_width)
        rows.append(
            {
                "label": label,
                "marks": marks,
                "amount": page.t(f"{amount} {one.measure.unit}"),
                "told": f"{label}: {page.t(amount)} {one.measure.unit}",
                "class": "wattbench-best" if number in glance.winners else "",
            }
        )
    title = page.t("mean of the runs and its 95 % interval")
    return {
        "title": f"{one.measure.unit}: {title}{cut(page, len(one.values))}",
        "unit": one.measure.unit,
        "rows": rows,
        "ticks": [
            {"left": f"{_place(axis, tick):.3f}", "text": page.t(f"{tick:g}")}
            for tick in axis.ticks
        ],
        "note": page.t("This axis does not begin at 0.") if axis.low > 0 else "",
    }


def _mark(kind: str, left: float, width: str) -> dict[str, str]:
    return {"class": kind, "left": f"{left:.3f}", "width": width}


def _place(axis: Axis, value: float) -> float:
    """Percents from the axis's begin."""
    return 100 * (value - axis.low) / (axis.high - axis.low)
