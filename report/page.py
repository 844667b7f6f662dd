"""What the sections of a page are made of: the page's facts, its blocks and its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analysis.analysis import Analysis
from ..records import Estimate
from ..tables.decimals import with_half_width
from ..tables.table import BLANK, Table
from .folder import Tuned
from .summary import condition_cells, differing_columns

if TYPE_CHECKING:
    import pandas as pd

Block = dict[str, Any]
Text = Callable[[str], str]

MOST_ROWS = 40
"""Of a chart; tables have them all."""


@dataclass(frozen=True)
class Added:
    """A section that a room above makes, with its place in the page's address and its title."""

    key: str
    title: str
    make: Callable[[Page], Iterator[Block]]


@dataclass(frozen=True)
class Page:
    """What a page is made of; ``shown`` has nothing in it that names a machine or a person.

    ``cells`` are the tables of matrices.
    """

    shown: Analysis
    given: Analysis
    folders: tuple[Path, ...]
    tuned: tuple[Tuned, ...]
    cells: tuple[pd.DataFrame, ...]
    language: str
    t: Text
    scrub: Text
    with_prompts: bool
    added: tuple[Added, ...] = ()

    @cached_property
    def rows(self) -> list[dict[Any, Any]]:
        return self.shown.summary.to_dict("records")

    @cached_property
    def names(self) -> list[str]:
        """What each row of the summary is called, with all that sets it apart from the others."""
        differing = differing_columns(self.shown.summary)
        return [
            ", ".join(cell for cell in condition_cells(row, differing) if cell != BLANK)
            for row in self.rows
        ]

    @cached_property
    def labels(self) -> list[str]:
        """What each row of the summary differs by from the others, for charts and sentences."""
        glance = self.shown.glance
        return [label or BLANK for label in glance.labels] if glance else []


def table_block(
    page: Page,
    caption: str,
    table: Table,
    blanks: Sequence[dict[str, str]] = (),
    *,
    verbatim: bool = False,
) -> Block:
    """A table; ``verbatim`` cells are names and versions, whose points are no decimal points."""
    reasons: dict[str, dict[str, None]] = {}
    for row in blanks:
        for heading, reason in row.items():
            reasons.setdefault(reason, {})[page.t(heading)] = None
    return {
        "kind": "table",
        "caption": page.t(caption),
        "headings": [page.t(heading) for heading in table.headings],
        "rows": [[row[0], *(c if verbatim else page.t(c) for c in row[1:])] for row in table.rows],
        "reasons": [f"{', '.join(of)}: {page.t(reason)}" for reason, of in reasons.items()],
    }


def figure_block(caption: str, alternative: str, svg: str) -> Block:
    from markupsafe import Markup

    return {
        "kind": "figure",
        "caption": caption + ".",
        "alternative": alternative,
        "svg": Markup(svg),  # noqa: S704
    }


def absent(page: Page, why: str) -> Block:
    return {"kind": "absent", "text": page.t(why)}


def cut(page: Page, count: int) -> str:
    return "" if count <= MOST_ROWS else f" ({page.t(f'the first {MOST_ROWS} of {count}')})"


def is_known(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def figure(value: float, form: str) -> str:
    return format(value, form) if is_known(value) else BLANK


def interval(value: float, low: float, high: float) -> str:
    if not is_known(value):
        return BLANK
    spread = f" ({low:.3f} to {high:.3f})" if is_known(low) and is_known(high) else ""
    return f"{value:.3f}{spread}"


def estimated(found: Estimate) -> str:
    return with_half_width(found.value, found.half_width)


def span(values: Sequence[float]) -> str:
    known = [value for value in values if value == value]
    return f"{min(known):.4g}..{max(known):.4g}"
