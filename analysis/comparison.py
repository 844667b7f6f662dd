"""Treatments against the baseline, by runs of the same seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
    """Whether the first rows of both are equal there; a blank equals a blank."""
    import pandas as pd

    for column in columns:
        a, b = (None if pd.isna(x := runs[column].iloc[0]) else x for runs in (first, second))
        if a is not b and (a is None or b is None or a != b):
            return False
    return True


Paired = tuple[str, str, int]
"""What runs that are paired have in common: block or process, prompt, and seed."""


@dataclass(frozen=True)
class Pairs:
    """Runs side by side: the block of each pair, and each metric of both, ``[pairs, 2]``."""

    blocks: list[str]
    values: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.blocks)


def pairs_of(baseline: pd.DataFrame, treatment: pd.DataFrame) -> Pairs:
    """Runs of one process (or block of a study), prompt and seed side by side, in their order."""
    first, second = _in_turn(baseline), _in_turn(treatment)
    shared = [key for key in first if key in second]
    rows = [first[key] for key in shared], [second[key] for key in shared]
    arms = list(zip((baseline, treatment), rows, strict=True))
    return Pairs(
        [block for (block, _, _), _ in shared],
        {
            metric: np.stack([arm[metric].to_numpy("float64")[own] for arm, own in arms], axis=1)
            for metric in COMPARED
        },
    )


def _in_turn(runs: pd.DataFrame) -> dict[tuple[Paired, int], int]:
    """The row of each run that has a seed, by what it is paired by, in order of time.

    Runs that may be paired are of one block of a study, else of one process; several of one prompt
    and seed take turns.
    """
    names = ("repeat", "started_at", "study", "visit", "process_id", "prompt_id", "seed")
    repeats, *rest = (runs[name].tolist() for name in names)
    is_blank, has_seed = runs["repeat"].isna().tolist(), runs["seed"].notna().tolist()
    # One without a number comes last.
    repeats = [math.inf if no else repeat for repeat, no in zip(repeats, is_blank, strict=True)]
    rows = list(zip(repeats, *rest, strict=True))
    turns: Counter[Paired] = Counter()
    found: dict[tuple[Paired, int], int] = {}
    for index in sorted(range(len(rows)), key=lambda index: rows[index][:2]):
        _, _, study, visit, process_id, prompt_id, seed = rows[index]
        if has_seed[index]:
            key = (f"{study} block {visit}" if study else process_id, prompt_id, seed)
            found[(key, turns[key])] = index
            turns[key] += 1
    return found


def _ratio(pairs: Pairs, metric: str) -> dict[str, Any]:
    ratio = ratio_of(pairs, metric)
    if ratio is None:
        return {}
    return {
        f"{metric}_ratio": ratio.value,
        f"{metric}_ratio_low": ratio.ci_low,
        f"{metric}_ratio_high": ratio.ci_high,
    }


def ratio_of(pairs: Pairs, metric: str, confidence: float = 0.95) -> Estimate | None:
    """Treatment over baseline of what :func:`pairs_of` found; ``None`` with fewer than two."""
    import pandas as pd

    values = pairs.values[metric]
    is_known = np.all(values > 0, axis=1)
    values = values[is_known]
    blocks = [pairs.blocks[place] for place in np.flatnonzero(is_known)]
    if len(set(blocks)) > 1:
        values = np.exp(pd.DataFrame(np.log(values)).groupby(blocks).mean().to_numpy())
    if len(values) < 2:
        return None
    return paired_ratio(values[:, 0].tolist(), values[:, 1].tolist(), confidence=confidence).ratio
