"""Which condition the others are compared with: one rule, whatever the order of the runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

BITS = re.compile(r"\d+")
"""The first number in a weight format's name is how many bits it has: ``bf16``, ``nf4``."""

STOCK = ("comfyui", "sdpa")
"""How the names of attention begin that is the host's own, or as good as that."""


def baseline_of(measured: Sequence[pd.DataFrame]) -> int:
    """The row of the baseline among the runs of conditions.

    It is the one that pictures are compared with where they are, and has the fewest optimizations,
    then an attention that nobody chose, or sdpa, then the most bits a weight. The first of several
    such ones is taken; conditions of which no run counts only where there is no other.
    """
    references = {str(name) for runs in measured for name in runs["picture_reference"]} - {""}

    def rank(row: int) -> tuple[Any, ...]:
        runs = measured[row]
        if not len(runs):
            return (1,)
        is_reference = bool(runs["run_id"].isin(references).any())
        return 0, not is_reference, *_alterations(runs.iloc[0]), row

    return min(range(len(measured)), key=rank)


def baseline_first(measured: Sequence[pd.DataFrame]) -> list[int]:
    """The rows in the order of a table: the baseline, then the others as they come.

    Those of studies stay as they are: their plans order them.
    """
    rows = list(range(len(measured)))
    if not rows or any(len(runs) and runs.iloc[0]["study"] for runs in measured):
        return rows
    first = baseline_of(measured)
    return [first, *(row for row in rows if row != first)]


def _alterations(first: Any) -> tuple[int, int, int]:
    """How much is altered in a run: optimizations, attention, and what its weights lack of bits."""
    optimizations = [part for part in str(first["optimizations"]).split(", ") if part]
    attention = str(first["attention"])
    is_chosen = bool(first["attention_executed"]) and not attention.startswith(STOCK)
    bits = BITS.search(str(first["weight_format"]))
    return len(optimizations), int(is_chosen), -int(bits[0]) if bits else 0
