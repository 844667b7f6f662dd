"""When a plan's numbers are known well enough, so that no more blocks are needed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..records import Estimate
from ..stats import estimate, paired_ratio
from .plan import Cell, Plan
from .visits import Visited

QUANTITIES = ("s_per_img", "j_per_img")


def is_precise(plan: Plan, cells: Sequence[Cell], made: Sequence[Visited]) -> bool:
    """Whether each ratio to a baseline is known within the plan's half width.

    Cells that are compared with no other count by themselves, in units of their mean. Cells that
    failed do not count.
    """
    widths = [one.half_width for one in known(plan, cells, made).values()]
    return all(width <= plan.stop.half_width for width in widths)


def known(
    plan: Plan, cells: Sequence[Cell], made: Sequence[Visited]
) -> dict[tuple[str, str], Estimate]:
    """Ratios to the baseline by cell and quantity; of a baseline that nothing is compared with, its
    spread around 1. One block has no interval: its half width is infinite.
    """
    failed = {visit.cell for visit in made if visit.error}
    running = [cell for cell in cells if cell.name not in failed]
    compared = {plan.baseline_of(cell) for cell in running if plan.baseline_of(cell) != cell}
    found = {}
    for cell in running:
        baseline = plan.baseline_of(cell)
        if baseline == cell and cell in compared:
            continue
        for quantity in QUANTITIES:
            own = _values(cell, quantity, made)
            if baseline == cell:
                values = list(own.values())
                if values:
                    found[(cell.name, quantity)] = _spread(values)
            elif own and (others := _values(baseline, quantity, made)):
                blocks = [block for block in own if block in others]
                pairs = [(others[block], own[block]) for block in blocks]
                found[(cell.name, quantity)] = _ratio(pairs)
    return found


def _values(cell: Cell, quantity: str, made: Sequence[Visited]) -> dict[int, float]:
    """What was measured of a cell, by block."""
    return {
        visit.block: value
        for visit in made
        if visit.cell == cell.name and (value := getattr(visit, quantity)) is not None and value > 0
    }


def _ratio(pairs: Sequence[tuple[float, float]]) -> Estimate:
    if not pairs:
        return Estimate(math.nan, -math.inf, math.inf, 0.95, 0, "1", math.nan)
    befores, afters = zip(*pairs, strict=True)
    if len(pairs) == 1:
        ratio = afters[0] / befores[0]
        return Estimate(ratio, -math.inf, math.inf, 0.95, 1, "1", math.nan)
    return paired_ratio(befores, afters).ratio


def _spread(values: Sequence[float]) -> Estimate:
    if len(values) < 2:
        return Estimate(1.0, -math.inf, math.inf, 0.95, len(values), "1", math.nan)
    logs = estimate([math.log(value) for value in values], "1")
    half = logs.half_width
    return Estimate(1.0, math.exp(-half), math.exp(half), 0.95, logs.n, "1", logs.stdev)
