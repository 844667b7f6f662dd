"""All that Show Summary shows of a set of runs, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..analysis.analysis import Analysis
from ..analysis.glance import Compared, Glance
from ..analysis.statements import failures
from ..records import Run
from .beside import own_text
from .blanks import Unmeasured, blank_reasons, notes_beside, without_blank_columns
from .breakdown import breakdown_table
from .drawn import axis_drawn, short, value_drawn
from .glance import HEADINGS
from .summary import GIB, summary_table

INTERVAL_NOTE = "± is the half width of the 95 % Student-t interval of the mean."
PHASES_NOTE = (
    "Shares are of encoding, denoising and decoding, without loading; energies of phases and steps "
    "are pooled over the repeats; net is less idle power."
)


def summary_shown(
    runs: Sequence[Run], picture_of: Callable[[Run], dict[str, str] | None] = lambda run: None
) -> dict[str, Any]:
    """The card, the comparison, tables and charts of ``runs``, ready for JSON; cells are text.

    ``glance`` is as :func:`glance_shown` has it. ``headings``, ``rows`` and ``notes`` are the
    summary; ``phases`` is a second table, with a row for each of its rows. ``blanks`` of a table
    gives for each row the reason of every blank cell, by its heading; notes that say no more than
    these are left out. Columns that are blank throughout for one reason are in ``unmeasured``
    instead, with it. ``series`` is as :func:`..analysis.series.series_of` has it. ``measured_at``
    are the times (ISO 8601) at which the first and the last run began. ``csv`` is what
    :func:`.beside.shown_beside` compares with another file. ``pictures`` has for each
    row what ``picture_of`` gives of the first of its runs that has one.
    """
    analysis = Analysis.of(runs)
    whole = summary_table(analysis), breakdown_table(analysis)
    blanks = tuple(blank_reasons(one, analysis) for one in whole)
    (table, gone), (phases, phases_gone) = (
        without_blank_columns(one, of) for one, of in zip(whole, blanks, strict=True)
    )
    by_id = {run.run_id: run for run in runs}
    started = sorted(run.started_at for run in runs)
    troubles = failures(analysis.frame)
    notes = notes_beside([n for n in table.notes if n not in troubles], blanks)
    return {
        "glance": analysis.glance and glance_shown(analysis.glance, blanks[0]),
        "troubles": troubles,
        "headings": table.headings,
        "rows": table.rows,
        "notes": [*([INTERVAL_NOTE] if len(analysis.frame) > 1 else []), *notes, PHASES_NOTE],
        "blanks": _left(blanks[0], gone),
        "phases": {
            "headings": phases.headings,
            "rows": phases.rows,
            "blanks": _left(blanks[1], phases_gone),
        },
        "unmeasured": [
            {"headings": of, "reason": reason} for reason, of in _joined(gone, phases_gone).items()
        ],
        "pictures": [
            next(filter(None, (picture_of(by_id[run_id]) for run_id in c.measured["run_id"])), None)
            for c in analysis.conditions
        ],
        "series": analysis.series,
        "csv": own_text(analysis.summary),
        "measured_at": started[:1] + started[-1:],
    }


def glance_shown(glance: Glance, blanks: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The facts of a glance, ready for JSON.

    ``blanks`` are those of the summary's table. A value has ``text``, ``value`` and the ends of its
    interval, ``null`` with a single run; where nothing was measured it has its ``reason`` instead.
    """
    return {
        "row": glance.row,
        "common": glance.common,
        "labels": glance.labels,
        "where": glance.where,
        "verdict": glance.verdict,
        "asides": glance.asides,
        "winners": glance.winners,
        "vram_total": None if glance.vram_total_bytes is None else glance.vram_total_bytes / GIB,
        "energy_from": glance.energy_from,
        "measures": [_measure(one, blanks) for one in glance.compared],
    }


def _measure(one: Compared, blanks: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    heading = HEADINGS[one.measure.column]
    return {
        "name": one.measure.column,
        "unit": one.measure.unit,
        "axis": axis_drawn(one.axis),
        "values": [
            {"reason": row.get(heading, "")} if found is None else value_drawn(found)
            for found, row in zip(one.values, blanks, strict=True)
        ],
        "parts": [{k: short(v) for k, v in row.items()} for row in one.parts],
        "parts_axis": axis_drawn(one.parts_axis),
    }


def _left(blanks: Sequence[Mapping[str, str]], gone: Sequence[Unmeasured]) -> list[dict[str, str]]:
    headings = {heading for one in gone for heading in one.headings}
    return [{h: reason for h, reason in row.items() if h not in headings} for row in blanks]


def _joined(*gone: Sequence[Unmeasured]) -> dict[str, list[str]]:
    """The headings of several tables, each once, by their reason."""
    found: dict[str, list[str]] = {}
    for one in (one for table in gone for one in table):
        of = found.setdefault(one.reason, [])
        of += [heading for heading in one.headings if heading not in of]
    return found
