"""The best condition against the baseline, or that they cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..records import Estimate
from .comparison import baselines, incomparable, pairs_of, ratio_of
from .pareto import left_out_because
from .summary import ConditionRuns

Outcome = Literal["better", "worse", "alike", "unpaired", "alone", "nothing"]
"""``better``: one beats the baseline. ``worse``: the baseline beats all others. ``alike``: neither.
``unpaired``: nothing has a ratio to the baseline. ``alone``: there is nothing else. ``nothing``: no
run that counts."""

CONFIDENCE = 0.95
METRICS = ("j_per_img", "it_per_s")
"""What is judged: energy where any condition has a ratio of it, else speed."""


@dataclass(frozen=True)
class Verdict:
    """``best`` is the row of the summary that ``ratio`` is of, over the row ``baseline``.

    The intervals of all ``compared`` conditions hold together at :data:`CONFIDENCE` (Bonferroni):
    else the best of many would often seem better by chance. ``ratio`` is of ``metric``.
    ``left_out`` are rows that could not win, each with the reason.
    """

    outcome: Outcome
    metric: str = METRICS[0]
    best: int | None = None
    ratio: Estimate | None = None
    compared: int = 0
    left_out: tuple[tuple[int, str], ...] = ()
    baseline: int = 0


def verdicts_of(conditions: Sequence[ConditionRuns]) -> list[Verdict]:
    """One for each baseline of a summary, at least one; broken pictures and fall-backs never win.

    Works of a study that have a single condition are left out where another one has several.
    """
    rows_of: dict[int, list[int]] = {}
    for row, baseline in enumerate(baselines([condition.measured for condition in conditions])):
        rows_of.setdefault(baseline, []).append(row)
    compared = {first: rows for first, rows in rows_of.items() if len(rows) > 1}
    return [
        replace(_verdict_of(conditions, rows), baseline=first)
        for first, rows in (compared or dict(list(rows_of.items())[:1]) or {0: []}).items()
    ]


def _verdict_of(conditions: Sequence[ConditionRuns], rows: Sequence[int]) -> Verdict:
    if not rows or not len(conditions[rows[0]].measured):
        return Verdict("nothing")
    if len(rows) == 1:
        return Verdict("alone")
    baseline = conditions[rows[0]].measured
    reasons = {
        row: incomparable(baseline, conditions[row].measured)
        or left_out_because(conditions[row].measured)
        for row in rows[1:]
    }
    left_out = tuple((row, reason) for row, reason in reasons.items() if reason)
    running = {
        row: pairs_of(baseline, conditions[row].measured)
        for row, reason in reasons.items()
        if not reason
    }
    for metric in METRICS:
        if metric == "j_per_img":
            meter = baseline.iloc[0]["energy_meter"]
            judged = {
                row: pairs
                for row, pairs in running.items()
                if conditions[row].measured.iloc[0]["energy_meter"] == meter
            }
        else:
            judged = running
        known = {row for row, pairs in judged.items() if ratio_of(pairs, metric) is not None}
        confidence = 1 - (1 - CONFIDENCE) / max(1, len(known))
        ratios = {row: ratio_of(judged[row], metric, confidence) for row in known}
        if ratios:
            found = _judged({row: ratio for row, ratio in ratios.items() if ratio}, metric)
            return replace(found, left_out=left_out)
    return Verdict("unpaired", left_out=left_out)


def _judged(ratios: dict[int, Estimate], metric: str) -> Verdict:
    is_cost = metric == "j_per_img"

    def gain(row: int) -> float:
        return -ratios[row].value if is_cost else ratios[row].value

    def is_better(row: int) -> bool:
        return ratios[row].ci_high < 1 if is_cost else ratios[row].ci_low > 1

    def is_worse(row: int) -> bool:
        return ratios[row].ci_low > 1 if is_cost else ratios[row].ci_high < 1

    better = [row for row in ratios if is_better(row)]
    best = max(better or ratios, key=gain)
    outcome: Outcome = "better" if better else "worse" if all(map(is_worse, ratios)) else "alike"
    return Verdict(outcome, metric, best, ratios[best], len(ratios))
