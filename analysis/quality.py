"""Means of picture metrics over prompts and seeds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..records import Estimate
from ..stats import estimate

if TYPE_CHECKING:
    import pandas as pd


def quality_estimate(measured: pd.DataFrame, metric: str, unit: str) -> Estimate | None:
    """Mean of a metric over a condition's pictures; ``None`` where none has a value.

    A picture is a prompt with a seed: repeats of it, in other processes for one, tell nothing new
    and count once. Each prompt weighs the same. Seeds of one prompt are alike, so that the interval
    is over the means of the prompts where there are several, else over the seeds; ``n`` and
    ``stdev`` are those of the pictures.
    """
    known = measured.loc[measured[metric].notna(), ["prompt_id", "seed", metric]]
    if known.empty:
        return None
    pictures = known.groupby(["prompt_id", "seed"], dropna=False)[metric].mean()
    prompts = pictures.groupby(level="prompt_id").mean()
    alone = estimate(pictures.tolist(), unit)
    if len(prompts) < 2:
        return alone
    return replace(estimate(prompts.tolist(), unit), n=alone.n, stdev=alone.stdev)
