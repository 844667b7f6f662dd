"""Treatments against the baseline, by runs of the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records import Estimate
from ..stats import paired_ratio
from .columns import ENVIRONMENT_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

COMPARED = {"it_per_s": "× it/s", "j_per_img": "× J/img"}
"""Metrics whose ratio to the baseline is shown, each with its heading."""

WORKLOAD_COLUMNS = [
    "architecture",
    "width_px",
    "height_px",
    "batch_size",
    "steps",
    "cfg",
    "sampler",
    "scheduler",
    "frames",
    "guidance",
]
"""Where these differ, a ratio would compare different work."""

COMPARISON_COLUMNS = [
    *(f"{metric}_ratio{part}" for metric in COMPARED for part in ("", "_low", "_high")),
    "pairs",
    "comparison_note",
]

BASELINE = "baseline"
NO_PAIRS = "fewer than two pairs of the same seed in the same server process"
NOT_ALL_PAIRED = "runs paired"
"""What a note says where not every run has a partner, behind how many of how many have."""

TOGETHER = "together"
ADAPTIVE = "adaptive evaluations"
"""What the column ``work`` says where the numbers depend on the picture: they may differ then."""


def comparisons(measured: list[pd.DataFrame]) -> list[dict[str, object]]:
    """:data:`COMPARISON_COLUMNS` for each condition's runs, of which the baseline's come first.

    A ratio is treatment over baseline, the geometric mean over runs of the same visit and seed,
    with its 95 % Student-t interval; with more than one visit, over the means of the visits. It is
    blank where work, environment or meter differ, where there are fewer than two pairs, and where a
    picture is broken: ``comparison_note`` says which. A study has a baseline for each work.
    """
    if len(measured) < 2 or not len(measured[0]):
        return [{} for _ in measured]
    return [
        {"comparison_note": BASELINE}
        if row == baseline
        else _compare(measured[baseline], measured[row])
        for row, baseline in enumerate(baselines(measured))
    ]


def baselines(measured: Sequence[pd.DataFrame]) -> list[int]:
    """The row that each condition is compared with: the first, in a study the first of its work."""
    firsts: dict[tuple[str, ...], int] = {}
    found = []
    for row, runs in enumerate(measured):
        first = runs.iloc[0] if len(runs) else None
        if first is None or not first["study"]:
            found.append(0)
            continue
        work = tuple(map(str, first[["study", "model", *WORKLOAD_COLUMNS]]))
        found.append(firsts.setdefault(work, row))
    return found


def _compare(baseline: pd.DataFrame, treatment: pd.DataFrame) -> dict[str, object]:
    reason = incomparable(baseline, treatment)
    if reason:
        return {"comparison_note": reason}
    pairs = pairs_of(baseline, treatment)
    if len(pairs) < 2:
        return {"pairs": len(pairs), "comparison_note": NO_PAIRS}
    most = max(len(baseline), len(treatment))
    note = "" if len(pairs) == most else f"{len(pairs)} of {most} runs paired"
    cells: dict[str, object] = {"pairs": len(pairs), "comparison_note": note}
    for metric in COMPARED:
        if metric != "j_per_img" or _same(baseline, treatment, ["energy_meter"]):
            cells.update(_ratio(pairs, metric))
    return cells


def incomparable(baseline: pd.DataFrame, treatment: pd.DataFrame) -> str:
    """Why runs have no ratio to the baseline's; empty where they may have one."""
    if not len(treatment):
        return "no run succeeded"
    broken = (treatment["picture_fault"] != "").sum()
    if broken:
        return f"{broken} of {len(treatment)} pictures are broken"
    if (baseline["picture_fault"] != "").any():
        return "pictures of the baseline are broken"
    environment = ENVIRONMENT_COLUMNS
    study = baseline.iloc[0]["study"]
    if study and study == treatment.iloc[0]["study"]:
        environment = [name for name in environment if name != "power_limit_w"]
    for columns, what in ((WORKLOAD_COLUMNS, "work"), (environment, "environment")):
        if not _same(baseline, treatment, columns):
            return f"another {what} than the baseline's"
    works = {str(runs.iloc[0]["work"]) for runs in (baseline, treatment)} - {""}
    if len(works) > 1 and not any(ADAPTIVE in work for work in works):
        return "another work than the baseline's, as counted"
    return ""


def _same(first: pd.DataFrame, second: pd.DataFrame, columns: list[str]) -> bool:
    a, b = first.iloc[0][columns], second.iloc[0][columns]
    return bool((a.isna() & b.isna() | (a == b).fillna(False)).all())


def together(runs: pd.DataFrame) -> pd.Series:
    """What runs that may be paired have in common: a block of a study, else the process."""
    blocks = runs["study"] + " block " + runs["visit"].astype(str)
    return blocks.where(runs["study"] != "", runs["process_id"])


def pairs_of(baseline: pd.DataFrame, treatment: pd.DataFrame) -> pd.DataFrame:
    """Runs of one process (or block of a study), prompt and seed side by side, in their order."""
    keys = [TOGETHER, "prompt_id", "seed"]
    first, second = (
        runs.assign(turn=runs.groupby(keys).cumcount())
        for runs in (
            r.assign(**{TOGETHER: together(r)})
            .dropna(subset=["seed"])
            .sort_values(["repeat", "started_at"], kind="stable")
            for r in (baseline, treatment)
        )
    )
    keys = [*keys, "turn"]
    metrics = [*keys, *COMPARED]
    return first[metrics].merge(second[metrics], on=keys, suffixes=("_baseline", "_treatment"))


def _ratio(pairs: pd.DataFrame, metric: str) -> dict[str, Any]:
    ratio = ratio_of(pairs, metric)
    if ratio is None:
        return {}
    return {
        f"{metric}_ratio": ratio.value,
        f"{metric}_ratio_low": ratio.ci_low,
        f"{metric}_ratio_high": ratio.ci_high,
    }


def ratio_of(pairs: pd.DataFrame, metric: str, confidence: float = 0.95) -> Estimate | None:
    """Treatment over baseline of what :func:`pairs_of` found; ``None`` with fewer than two."""
    columns = [f"{metric}_baseline", f"{metric}_treatment"]
    values = pairs[[TOGETHER, *columns]].dropna()
    values = values[(values[columns] > 0).all(axis=1)]
    blocks, values = values[TOGETHER], values[columns].astype(float)
    if blocks.nunique() > 1:
        logs = np.log(values).groupby(blocks).mean()
        values = np.exp(logs)
    if len(values) < 2:
        return None
    first, second = (list(values[column]) for column in columns)
    return paired_ratio(first, second, confidence=confidence).ratio
