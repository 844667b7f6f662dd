"""Notes of single runs, gathered: each kind once, with how many runs it is of and its range."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

NUMBER = re.compile(r"(?<![\w:.-])[-+]?\d+(?:\.\d+)?(?![\w:])")
"""A number that stands for itself; digits of a name such as ``nvml:0`` do not."""

BLANK = "\0"
SEPARATOR = "; "
NOTE_COLUMNS = {
    "energy_note": "Energy",
    "vram_note": "VRAM",
    "flags": "Board",
    "not_counted": "Not counted",
}


def run_notes(runs: pd.DataFrame) -> list[str]:
    """What the rows of the runs that count say, kind by kind.

    ``SM clock changed: 1830 to 1980 MHz`` and ``SM clock changed: 1845 to 1965 MHz`` are of one
    kind and become ``SM clock changed: 1830..1845 to 1965..1980 MHz (2 of 20 runs)``.
    """
    counted = runs[~runs["is_warmup"]]
    if counted.empty:
        counted = runs
    titles: dict[str, list[str]] = {}
    for column, title in NOTE_COLUMNS.items():
        for note in gathered(counted[column]):
            titles.setdefault(note, []).append(title)
    return [f"{' and '.join(of)}: {note}" for note, of in titles.items()]


def gathered(cells: pd.Series) -> Iterator[str]:
    """The notes of a column's cells, kind by kind; a cell with several of one kind is one run."""
    kinds: dict[str, list[list[str]]] = {}
    runs: Counter[str] = Counter()
    for cell, times in cells.value_counts(sort=False).items():
        notes = [part for part in str(cell).split(SEPARATOR) if part]
        for note in notes:
            kinds.setdefault(NUMBER.sub(BLANK, note), []).append(NUMBER.findall(note))
        runs.update(dict.fromkeys((NUMBER.sub(BLANK, note) for note in notes), times))
    for kind, found in kinds.items():
        text = kind
        for slot in zip(*found, strict=True):
            text = text.replace(BLANK, _range(slot), 1)
        yield text if runs[kind] == len(cells) else f"{text} ({runs[kind]} of {len(cells)} runs)"


def _range(numbers: Sequence[str]) -> str:
    """One number as it was written, several as ``lowest..highest``."""
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if float(low) == float(high) else f"{low}..{high}"
