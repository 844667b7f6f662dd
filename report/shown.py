"""All that Show Summary shows of a set of runs, as plain data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..analysis.analysis import Analysis
from ..analysis.notes import SEPARATOR
from ..records import Run
from .blanks import blank_reasons
from .breakdown import breakdown_table
from .summary import summary_table

OF_RUNS = re.compile(r" \(\d+ of \d+ runs\)$")

PHASES_NOTE = (
    "Shares are of encoding, denoising and decoding, without loading; energies of phases and steps "
    "are pooled over the repeats; net is less idle power."
)


def summary_shown(runs: Sequence[Run]) -> dict[str, Any]:
    """The tables and charts of ``runs``, ready for JSON; cells are text.

    ``headings``, ``rows`` and ``notes`` are the summary; ``phases`` is a second table, with a row
    for each of its rows. ``blanks`` of a table gives for each row the reason of every blank cell,
    by its heading; notes that say no more than these are left out. ``series`` is as
    :func:`..analysis.series.series_of` has it. ``measured_at`` are the times (ISO 8601) at which
    the first and the last run began.
    """
    analysis = Analysis.of(runs)
    table, phases = summary_table(analysis), breakdown_table(analysis)
    blanks, phase_blanks = (blank_reasons(one, analysis) for one in (table, phases))
    told = {
        part
        for row in (*blanks, *phase_blanks)
        for reason in row.values()
        for part in reason.split(SEPARATOR)
    }
    started = sorted(run.started_at for run in runs)
    return {
        "headings": table.headings,
        "rows": table.rows,
        "notes": [
            *(note for note in table.notes if OF_RUNS.sub("", note.partition(": ")[2]) not in told),
            PHASES_NOTE,
        ],
        "blanks": blanks,
        "phases": {"headings": phases.headings, "rows": phases.rows, "blanks": phase_blanks},
        "series": analysis.series,
        "measured_at": started[:1] + started[-1:],
    }
