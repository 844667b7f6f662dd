"""Where the time and the energy of a run go: the second table of Show Summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..analysis.analysis import Analysis
from ..analysis.breakdown import ENERGIES, IDLE, TIMES
from ..records import Estimate
from ..tables.decimals import with_half_width
from ..tables.table import BLANK, Table
from .summary import condition_cells, condition_headings, differing_columns

ESTIMATED = {
    "load_time_s": "Load (s)",
    **dict(zip(TIMES, ("Encode (s)", "Denoise (s)", "Decode (s)"), strict=True)),
    "s_per_step": "s/step",
    **dict(zip(ENERGIES, ("Encode (J)", "Denoise (J)", "Decode (J)"), strict=True)),
    "j_per_step": "J/step",
    "net_j_per_img": "Net J/img",
}
"""What has a mean and an interval, each with its heading."""

IDLE_HEADING = "Idle power before / after (W)"
METHOD_HEADING = "Phases by"


def breakdown_table(analysis: Analysis) -> Table:
    """A row for each row of the summary.

    Cells are mean ± half width of the 95 % interval. Times and energies of a phase also have its
    share of encoding, denoising and decoding. Energies of phases and steps are pooled over the
    repeats (:mod:`..pooling`); net is less idle power, which may leave a negative number.
    """
    differing = differing_columns(analysis.summary)
    rows = tuple(
        (*condition_cells(row, differing), *_cells(parts), row["pooled_method"] or BLANK)
        for row, parts in zip(analysis.summary.to_dict("records"), analysis.parts, strict=True)
    )
    headings = (*ESTIMATED.values(), IDLE_HEADING, METHOD_HEADING)
    return Table((*condition_headings(differing), *headings), rows)


def _cells(parts: Mapping[str, Estimate]) -> list[str]:
    shares = {**_shares(parts, TIMES), **_shares(parts, ENERGIES)}
    cells = [_estimated(parts.get(column)) + shares.get(column, "") for column in ESTIMATED]
    return [*cells, _idle(parts)]


def _estimated(found: Estimate | None) -> str:
    return BLANK if found is None else with_half_width(found.value, found.half_width)


def _shares(parts: Mapping[str, Estimate], columns: Sequence[str]) -> dict[str, str]:
    """What each column is of their sum; nothing where one of them is not known."""
    means = {column: parts[column].value for column in columns if column in parts}
    total = sum(means.values())
    if len(means) < len(columns) or not total > 0:
        return {}
    return {column: f" ({100 * mean / total:.0f} %)" for column, mean in means.items()}


def _idle(parts: Mapping[str, Estimate]) -> str:
    if not any(column in parts for column in IDLE):
        return BLANK
    return " / ".join(f"{parts[c].value:.1f}" if c in parts else BLANK for c in IDLE)
