"""Treatments against the baseline, by runs of the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

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
    cells: dict[str, object] = {"pairs": len(pairs)}
    told = []
    for metric in COMPARED:
        if metric != "j_per_img" or _same(baseline, treatment, ["energy_meter"]):
            told.append(metric)
            cells.update(_ratio(pairs, metric))
    return {**cells, "comparison_note": paired_note(baseline, treatment, pairs, told)}


def paired_note(
    baseline: pd.DataFrame, treatment: pd.DataFrame, pairs: Pairs, metrics: Sequence[str]
) -> str:
    """How many runs have a partner, and of which metrics fewer; empty where all have one."""
    most = max(len(baseline), len(treatment))
    known = {COMPARED[metric]: int(pairs.is_known(metric).sum()) for metric in metrics}
    fewer = {name: count for name, count in known.items() if 0 < count < len(pairs)}
    if fewer:
        these = ", ".join(f"{name}: {count}" for name, count in fewer.items())
        return f"{len(pairs)} of {most} runs paired ({these})"
    return "" if len(pairs) == most else f"{len(pairs)} of {most} runs paired"


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

    def is_known(self, metric: str) -> NDArray[np.bool_]:
        """Which pairs have a value of the metric on both sides; 0 is none."""
        known: NDArray[np.bool_] = np.all(self.values[metric] > 0, axis=1)
        return known


def pairs_of(baseline: pd.DataFrame, treatment: pd.DataFrame) -> Pairs:
    """Runs of one process (or block of a study), prompt and seed side by side, in their order.

    Those of the same repeat first, then what is left. Where a batch was made again the k-th is
    paired with the k-th; where one side has fewer, each of its runs with the next in time.
    """
    arms = [_seeded(arm) for arm in (baseline, treatment)]
    found = _matched(arms, lambda run: (run.shared, run.repeat))
    taken = [{rows[side] for rows in found} for side in (0, 1)]
    left = [[r for r in arm if r.row not in own] for arm, own in zip(arms, taken, strict=True)]
    found += _matched(left, lambda run: run.shared)
    order = {run.row: (place, run.shared[0]) for place, run in enumerate(arms[0])}
    found.sort(key=lambda rows: order[rows[0]])
    chosen = [np.array([rows[side] for rows in found], dtype=int) for side in (0, 1)]
    return Pairs(
        [order[first][1] for first, _ in found],
        {
            metric: np.stack(
                [
                    arm[metric].to_numpy("float64")[rows]
                    for arm, rows in zip((baseline, treatment), chosen, strict=True)
                ],
                axis=1,
            )
            for metric in COMPARED
        },
    )


class _Seeded(NamedTuple):
    """A run that has a seed: its row, what it is paired by, its repeat and when it began."""

    row: int
    shared: Paired
    repeat: float
    started_at: str


def _seeded(runs: pd.DataFrame) -> list[_Seeded]:
    """The runs that have a seed, in order of time."""
    names = ("repeat", "started_at", "study", "visit", "process_id", "prompt_id", "seed")
    columns = [runs[name].tolist() for name in names]
    is_blank, has_seed = runs["repeat"].isna().tolist(), runs["seed"].notna().tolist()
    found = []
    for row, (repeat, began, study, visit, process_id, prompt_id, seed) in enumerate(
        zip(*columns, strict=True)
    ):
        if has_seed[row]:
            shared = (f"{study} block {visit}" if study else process_id, prompt_id, seed)
            found.append(_Seeded(row, shared, math.inf if is_blank[row] else repeat, began))
    return sorted(found, key=lambda run: (run.started_at, run.repeat))


def _matched(
    arms: Sequence[Sequence[_Seeded]], key: Callable[[_Seeded], Hashable]
) -> list[tuple[int, int]]:
    """The rows of runs with the same key, each once."""
    groups: list[dict[Hashable, list[_Seeded]]] = [{}, {}]
    for arm, by_key in zip(arms, groups, strict=True):
        for run in arm:
            by_key.setdefault(key(run), []).append(run)
    found = []
    for shared in groups[0].keys() & groups[1].keys():
        first, second = groups[0][shared], groups[1][shared]
        if len(first) < len(second):
            second = _nearest(first, second)
        elif len(second) < len(first):
            first = _nearest(second, first)
        found += [(a.row, b.row) for a, b in zip(first, second, strict=True)]
    return found


def _nearest(fewer: Sequence[_Seeded], more: Sequence[_Seeded]) -> list[_Seeded]:
    """As many of ``more`` as there are ``fewer``, in their order, each near its partner in time."""
    times = [_seconds(run.started_at) for run in more]
    found, at = [], 0
    for number, run in enumerate(fewer):
        here, last = _seconds(run.started_at), len(more) - len(fewer) + number
        while at < last and abs(times[at + 1] - here) < abs(times[at] - here):
            at += 1
        found.append(more[at])
        at += 1
    return found


def _seconds(started_at: str) -> float:
    """Since 1970; 0 for what is no time."""
    try:
        return datetime.fromisoformat(started_at).timestamp()
    except ValueError:
        return 0.0


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

    is_known = pairs.is_known(metric)
    values = pairs.values[metric][is_known]
    blocks = [pairs.blocks[place] for place in np.flatnonzero(is_known)]
    if len(set(blocks)) > 1:
        values = np.exp(pd.DataFrame(np.log(values)).groupby(blocks).mean().to_numpy())
    if len(values) < 2:
        return None
    return paired_ratio(values[:, 0].tolist(), values[:, 1].tolist(), confidence=confidence).ratio
