"""Notes of single runs, gathered: each kind once, with how many runs it is of and its range."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

NUMBER = re.compile(r"(?<![\w:.-])[-+]?\d+(?:\.\d+)?(?![\w:])")
"""A number that stands for itself; digits of a name such as ``nvml:0`` do not."""

BLANK = "\0"
SEPARATOR = "; "
NOTE_COLUMNS = {"energy_note": "Energy", "vram_note": "VRAM", "flags": "Board"}


def run_notes(runs: pd.DataFrame) -> list[str]:
    """What the rows of the runs that count say, kind by kind.

    ``SM clock changed: 1830 to 1980 MHz`` and ``SM clock changed: 1845 to 1965 MHz`` are of one
    kind and become ``SM clock changed: 1830..1845 to 1965..1980 MHz (2 of 20 runs)``.
    """
    counted = runs[~runs["is_warmup"]]
    if counted.empty:
        counted = runs
    return [
        f"{title}: {note}"
        for column, title in NOTE_COLUMNS.items()
        for note in gathered(counted[column])
    ]


def gathered(cells: pd.Series) -> Iterator[str]:
    """The notes of a column's cells, kind by kind."""
    kinds: dict[str, list[list[str]]] = {}
    for cell in cells:
        for note in dict.fromkeys(part for part in cell.split(SEPARATOR) if part):
            kinds.setdefault(NUMBER.sub(BLANK, note), []).append(NUMBER.findall(note))
    for kind, found in kinds.items():
        text = kind
        for slot in zip(*found, strict=True):
            text = text.replace(BLANK, _range(slot), 1)
        yield text if len(found) == len(cells) else f"{text} ({len(found)} of {len(cells)} runs)"


def _range(numbers: tuple[str, ...]) -> str:
    """One number as it was written, several as ``lowest..highest``."""
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if float(low) == float(high) else f"{low}..{high}"
