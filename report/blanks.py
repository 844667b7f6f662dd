"""Why cells of the tables are blank."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..analysis.analysis import Analysis
from ..analysis.breakdown import ENERGIES, TIMES
from ..analysis.columns import ENVIRONMENT_COLUMNS, METRICS
from ..analysis.comparison import COMPARED
from ..analysis.notes import SEPARATOR, gathered
from ..measure.energy.phases import SLOW_COUNTER
from ..tables.table import BLANK, Table
from .breakdown import ESTIMATED, IDLE_HEADING, METHOD_HEADING
from .summary import DIFFERENCES, HEADINGS, OTHER_DIFFERENCES

if TYPE_CHECKING:
    import pandas as pd

OF_RUNS = re.compile(r" \(\d+ of \d+ runs\)$")

NO_RUN = "no run of this condition succeeded"
NO_ENERGY = "energy was not measured"
NO_IDLE = "idle power was not measured"
NO_SPEED = "the number of steps or the time of denoising is not known"
NO_STEPS = "the number of steps is not known"
NO_BATCH = "the number of images is not known"
NO_RATIO = "not measured for both conditions by the same meter"
UNSEEN = "this phase was not observed"
UNKNOWN = "not known of these runs"

COLUMNS = {
    **dict(zip(HEADINGS[2:-1], METRICS, strict=True)),
    **{heading: column for column, heading in ESTIMATED.items()},
    HEADINGS[-1]: "energy_meter",
    METHOD_HEADING: "pooled_method",
    IDLE_HEADING: "idle_power_w",
}
"""The column behind each heading of both tables."""

POOLED = {*ENERGIES, "j_per_step", "pooled_method"}
NEED_ENERGY = {*POOLED, "j_per_img", "img_per_kwh", "net_j_per_img", "energy_meter"}

OTHERWISE = {
    **dict.fromkeys(NEED_ENERGY, NO_ENERGY),
    **dict.fromkeys(("load_time_s", *TIMES), UNSEEN),
    **dict.fromkeys(("it_per_s", "s_per_step"), NO_SPEED),
    **dict.fromkeys(
        ("img_per_s", "s_per_img"),
        "not every phase was observed, or the number of images is not known",
    ),
    "j_per_step": NO_STEPS,
    "j_per_img": NO_BATCH,
    "img_per_kwh": NO_BATCH,
    "net_j_per_img": NO_IDLE,
    "idle_power_w": NO_IDLE,
    "peak_vram_bytes": "VRAM was not measured",
}
"""Where the runs themselves give no reason."""


def blank_reasons(table: Table, analysis: Analysis) -> list[dict[str, str]]:
    """For each row of ``table`` the headings of its blank cells, each with the reason.

    ``table`` has a row for each row of the summary.
    """
    return [
        {
            heading: _reason(heading, condition.measured, row["comparison_note"])
            for heading, cell in zip(table.headings, cells, strict=True)
            if cell == BLANK
        }
        for cells, condition, row in zip(
            table.rows, analysis.conditions, analysis.summary.to_dict("records"), strict=True
        )
    ]


@dataclass(frozen=True)
class Unmeasured:
    """Headings under which no row has anything, all for one reason."""

    headings: tuple[str, ...]
    reason: str

    @property
    def sentence(self) -> str:
        return f"Not measured: {', '.join(self.headings)}: {self.reason}"


def without_blank_columns(
    table: Table, blanks: Sequence[Mapping[str, str]]
) -> tuple[Table, list[Unmeasured]]:
    """The table without the columns that are blank throughout for one reason, and these.

    One cause is told once, instead of by a dash in every column that it empties.
    """
    found: dict[str, list[str]] = {}
    for heading in table.headings:
        reasons = {row.get(heading, "") for row in blanks}
        if len(reasons) == 1 and (reason := reasons.pop()):
            found.setdefault(reason, []).append(heading)
    gone = {heading for headings in found.values() for heading in headings}
    kept = [n for n, heading in enumerate(table.headings) if heading not in gone]
    smaller = Table(
        tuple(table.headings[n] for n in kept),
        tuple(tuple(row[n] for n in kept) for row in table.rows),
        table.notes,
    )
    return smaller, [Unmeasured(tuple(of), reason) for reason, of in found.items()]


def told_once(table: Table, analysis: Analysis) -> Table:
    """A table of the summary's rows without blank columns, whose reasons become notes."""
    blanks = blank_reasons(table, analysis)
    smaller, gone = without_blank_columns(table, blanks)
    notes = notes_beside(smaller.notes, [blanks]) if gone else smaller.notes
    return replace(smaller, notes=(*(one.sentence for one in gone), *notes))


def notes_beside(
    notes: Sequence[str], blanks: Sequence[Sequence[Mapping[str, str]]]
) -> tuple[str, ...]:
    """Those of ``notes`` that say more than the reasons of the tables' blank cells."""
    told = {
        part
        for table in blanks
        for row in table
        for reason in row.values()
        for part in reason.split(SEPARATOR)
    }
    return tuple(n for n in notes if OF_RUNS.sub("", n.partition(": ")[2]) not in told)


def _reason(heading: str, measured: pd.DataFrame, comparison_note: object) -> str:
    if heading in DIFFERENCES.values():
        return "nothing was asked for"
    if heading in OTHER_DIFFERENCES.values():
        return UNKNOWN
    if heading in ENVIRONMENT_COLUMNS:
        return "unavailable on this machine"
    if measured.empty:
        return NO_RUN
    if heading in COMPARED.values():
        has_note = isinstance(comparison_note, str) and comparison_note
        return str(comparison_note) if has_note else NO_RATIO
    column = COLUMNS[heading]
    if column in NEED_ENERGY and measured["energy_j"].isna().all():
        notes = measured["energy_note"]
        if (measured["energy_meter"] != "").any():
            # A part was measured: what follows the reason is about that part.
            notes = notes.str.partition(SEPARATOR)[0]
        return _told(notes) or NO_ENERGY
    if column in POOLED and measured["energy_note"].str.contains(SLOW_COUNTER, regex=False).any():
        return SLOW_COUNTER
    told = _told(measured["vram_note"]) if column == "peak_vram_bytes" else ""
    return told or OTHERWISE[column]


def _told(notes: pd.Series) -> str:
    return "; ".join(gathered(notes))
