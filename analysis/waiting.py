"""Notes on a card that waited for its host, and what helps there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .columns import condition_name
from .summary import GROUP_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

NOTABLE_WAIT = 0.2
"""From this share of the denoising on, waiting is told."""


def waiting_notes(runs: pd.DataFrame) -> Iterator[str]:
    """For every condition whose device waited for the host, and where one condition had two VRAMs.

    What helps is said by what the runs did without.
    """
    counted = runs[~runs["is_warmup"] & (runs["error"] == "") & (runs["not_counted"] == "")]
    for _, group in counted.groupby(GROUP_COLUMNS, dropna=False, sort=False):
        name, shares = condition_name(group.iloc[0]), group["gpu_busy_share"].dropna()
        dynamic = sorted({*group["dynamic_vram"].unique()} - {""})
        if len(dynamic) > 1:
            yield f"{name}: dynamic VRAM was on in some runs, off in others: two costs in one row"
        if not len(shares) or 1 - shares.mean() < NOTABLE_WAIT:
            continue
        optimizations = str(group.iloc[0]["optimizations"])
        helps = []
        if "on" in ", ".join(dynamic).split(", "):
            helps.append(
                "put Static VRAM before the sampler if the model fits (or --disable-dynamic-vram)"
            )
        if "compile" not in optimizations:
            helps.append("put Compile before the sampler")
        helps.append("make larger batches")
        yield (
            f"{name}: the card waited for the host {1 - shares.mean():.0%} of the denoising. "
            f"What helps: {', or '.join(helps)}; a faster card does not"
        )
