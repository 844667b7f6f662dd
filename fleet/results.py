"""What a fleet leaves: every cell of every card and how it went, the tables of all, the page."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..analysis.analysis import Analysis
from ..report import write_analysis
from ..report.folder import CELL_COLUMNS, CELLS_FILE
from ..report.html import PageUnavailableError, as_html
from ..sharing.merge import MOST_TOGETHER, write_apart
from ..sharing.union import Union
from ..study.visits import JOURNAL, read_visits
from ..tables.csv import write_frame
from ..tables.files import write_text
from .coordinator import Coordinator, Working, reasons_of
from .page import as_markdown
from .rows import folders_of, rows_of
from .sections import Question, sections_on_cards

PAGE = "fleet.md"
COLUMNS = ("card", *CELL_COLUMNS)
NOT_DONE, UNPLACEABLE, MEASURED, SKIPPED = "not done", "unplaceable", "measured", "skipped"


@dataclass(frozen=True)
class Cell:
    """A cell on a card, as ``cells.csv`` has it."""

    card: str
    cell: str
    workload: str
    status: str
    visits: int
    reason: str


def write_fleet(coordinator: Coordinator) -> tuple[bool, list[str]]:
    """Write ``cells.csv``, the tables and the page; whether all is measured, and what to tell.

    Raises:
        OSError: the folder cannot be written.
    """
    import pandas as pd

    store = coordinator.store
    cells = list(cells_of(coordinator))
    frame = pd.DataFrame([tuple(vars(cell).values()) for cell in cells], columns=list(COLUMNS))
    lines = [str(write_frame(frame, store.folder / CELLS_FILE))]
    for status in dict.fromkeys(cell.status for cell in cells):
        own = [cell for cell in cells if cell.status == status]
        lines.append(f"{len(own)} cells {status}")
    folders = list(store.cards().values())
    analysis = analysis_of(folders)
    if analysis is not None:
        lines += map(str, write_analysis(analysis, store.folder))
        lines.append(_write_html(analysis, store.folder))
    elif folders:
        with Union(lines.append) as union:
            for folder in folders:
                union.add(folder)
            lines += map(str, write_apart(union, store.folder, lines.append, with_raw=False))
    page = as_markdown(list(rows_of(folders)), analysis)
    lines.append(str(write_text(page, store.folder / PAGE)))
    wanted = all(cell.status in (MEASURED, SKIPPED) for cell in cells)
    return wanted and bool(cells), lines


def _write_html(analysis: Analysis, folder: Path) -> str:
    try:
        page = as_html(analysis, [folder], added=sections_on_cards(analysis, Question()))
    except (PageUnavailableError, ValueError) as error:
        return f"no report.html: {error}"
    return str(write_text(page, folder / "report.html"))


def page_of(folders: Sequence[Path]) -> str:
    """The page of folders of results, a fleet's or single machines'.

    Raises:
        MergeError, BundleError, IncomingError: a folder, journal or bundle cannot be read.
    """
    cards = list(folders_of(folders))
    return as_markdown(list(rows_of(cards)), analysis_of(cards))


def analysis_of(folders: Sequence[Path]) -> Analysis | None:
    """Of the runs of all folders, merged; ``None`` of none, and of more than may be together."""
    with Union() as union:
        for folder in folders:
            union.add(folder)
            if union.run_count > MOST_TOGETHER:
                return None
        return Analysis.of(list(union.runs())) if union.run_count else None


def cells_of(coordinator: Coordinator) -> Iterator[Cell]:
    """Every cell of every card that the plan asks for."""
    reasons = reasons_of(coordinator)
    for key, working in sorted(coordinator.cards.items()):
        if working.is_over:
            yield from _as_its_machine_says(coordinator, working)
        else:
            yield from _not_done(coordinator, working, reasons[key])
    for number, reason in coordinator.missing.items():
        entry = coordinator.plan.fleet.cards[number]
        for cell in coordinator.plan.only(entry.workloads).cells():
            yield Cell(entry.labels, cell.name, cell.workload, UNPLACEABLE, 0, reason)


def _as_its_machine_says(coordinator: Coordinator, working: Working) -> Iterator[Cell]:
    path = coordinator.store.folder_of(working.card) / CELLS_FILE
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            visits = int(row["visits"])
            told = (row["cell"], row["workload"], row["status"], visits, row["reason"])
            yield Cell(working.card.key, *told)


def _not_done(coordinator: Coordinator, working: Working, reason: str) -> Iterator[Cell]:
    made = read_visits(coordinator.store.folder_of(working.card) / JOURNAL).made
    for cell in coordinator.plan.only(working.placed.workloads).cells():
        visits = sum(visit.cell == cell.name for visit in made)
        yield Cell(working.card.key, cell.name, cell.workload, NOT_DONE, visits, reason)
