"""A second table of results beside a summary that is shown, for the page of Show Summary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..analysis.analysis import Analysis
from ..analysis.beside import NEEDED, Beside, OnOneAxis, Together, beside, estimate_of, together
from ..analysis.columns import IDENTIFYING, TEXT_COLUMNS
from ..analysis.glance import MEASURES, Measure
from ..analysis.labels import labels_of
from ..records import Estimate
from ..tables.csv import frame_text, parsed_frame
from ..tables.decimals import decimals_for, with_half_width
from ..tables.table import BLANK
from .csv import IDENTITY_COLUMNS, typed_runs
from .drawn import axis_drawn, value_drawn

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 8 * 2**20
LESS = {
    "j_per_img": "energy per image",
    "s_per_img": "time per image",
    "peak_vram_bytes": "memory",
}
NOTHING_ALIKE = (
    "No condition of that file does the same work as one of these, so that nothing can be compared."
)
UNKNOWN = "that file has no value of it"
NOTE = (
    "Ratios are of the means, with Welch's 95 % interval; nothing of the two files is pooled. A "
    "ratio of runs that were measured together is narrower: wattbench compare finds such."
)


def own_text(summary: pd.DataFrame) -> str:
    """What of a summary travels with it, so that it can be compared later."""
    return frame_text(summary[list(NEEDED)])


def shown_beside(own: str, other: str, name: str) -> dict[str, Any]:
    """Differences of the table ``other`` from ``own``, ready for JSON.

    ``rows`` have for each pair of conditions a ``label`` (empty for the only one of this result), a
    ``verdict`` and ``notes``, and for each metric its ``unit``, both values and their ratio, as
    text. ``chart`` has all conditions of both on one axis: their ``labels``, of which file each is
    (``files``: 0 for this result, 1 for the other), and ``measures`` as those of a glance.

    Args:
        own: as :func:`own_text` gave it.
        other: the text of a ``summary.csv`` or a ``runs.csv``.
        name: of that file.

    Raises:
        ValueError: it is neither.
    """
    first, second = _summary(own, "this result"), _summary(other, name)
    pairs = beside(first, second)
    rows = [first.to_dict("records"), second.to_dict("records")]
    _, labels = labels_of(first)
    return {
        "name": name,
        "note": NOTE if pairs else NOTHING_ALIKE,
        "chart": _chart(together(first, second)),
        "left_over": [len(first) - len(pairs), len(second) - len(pairs)],
        "rows": [
            _row(labels[pair.own], rows[0][pair.own], rows[1][pair.other], pair) for pair in pairs
        ],
    }


def _summary(text: str, name: str) -> pd.DataFrame:
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise ValueError(f"{name} is larger than {MOST_BYTES // 2**20} MiB: no summary is")
    frame = parsed_frame(text, name, dict.fromkeys(TEXT_COLUMNS, str))
    if all(column in frame for column in IDENTITY_COLUMNS):
        frame = Analysis(typed_runs(frame, name)).summary
    missing = [column for column in NEEDED if column not in frame]
    if missing:
        raise ValueError(
            f"{name} is no summary.csv of this WattBench, and no runs.csv: it lacks "
            f"{', '.join(missing[:3])}. Export CSV writes both."
        )
    numbers = [column for column in NEEDED if column.endswith(("_mean", "_stdev", "_n"))]
    numbers += ["n", "fallback_runs", "broken_pictures"]
    settings = [c.name for c in IDENTIFYING if c.type in ("integer", "number") and c.name in frame]
    try:
        frame = frame.astype(dict.fromkeys(numbers, "float64"))
        if frame[numbers].isin((math.inf, -math.inf)).any(axis=None):
            raise ValueError("infinity")
        for column in settings:
            frame[column].dropna().astype("float64")
        return frame
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{name} has a cell that is no number: {error}") from error


def _row(
    label: str, own: Mapping[Any, Any], other: Mapping[Any, Any], pair: Beside
) -> dict[str, Any]:
    return {
        "label": label,
        "verdict": _verdict(pair.ratios),
        "notes": list(pair.notes),
        "metrics": [
            {
                "name": measure.column,
                "unit": measure.unit,
                "own": _cell(own, measure),
                "other": _cell(other, measure),
                "ratio": _ratio(pair.ratios.get(measure.column)),
            }
            for measure in MEASURES
        ],
    }


def _chart(both: Together) -> dict[str, Any]:
    return {
        "labels": both.labels,
        "files": both.files,
        "measures": [_drawn(one) for one in both.measures],
    }


def _drawn(one: OnOneAxis) -> dict[str, Any]:
    return {
        "name": one.measure.column,
        "unit": one.measure.unit,
        "axis": axis_drawn(one.axis),
        "values": [
            {"reason": UNKNOWN} if found is None else value_drawn(found) for found in one.values
        ],
        "note": one.note,
    }


def _cell(row: Mapping[Any, Any], measure: Measure) -> str:
    found = estimate_of(row, measure)
    return BLANK if found is None else with_half_width(found.value, found.half_width)


def _ratio(ratio: Estimate | None) -> str:
    if ratio is None:
        return BLANK
    if math.isnan(ratio.ci_low):
        return f"{ratio.value:.3f}"
    digits = decimals_for(ratio.value, (ratio.ci_high - ratio.ci_low) / 2)
    return f"{ratio.value:.{digits}f} ({ratio.ci_low:.{digits}f} to {ratio.ci_high:.{digits}f})"


def _verdict(ratios: Mapping[str, Estimate]) -> str:
    """By energy where it may be compared, else by time."""
    metric = next((name for name in ("j_per_img", "s_per_img") if name in ratios), "")
    if not metric:
        return ""
    ratio, what = ratios[metric], LESS[metric]
    ends = [100 * (value - 1) for value in (ratio.value, ratio.ci_low, ratio.ci_high)]
    if math.isnan(ratio.ci_low):
        return f"The loaded file: {ends[0]:+.1f} % {what}; one run has no interval."
    digits = min(2, decimals_for(ends[0], (ends[2] - ends[1]) / 2))
    change, low, high = (f"{abs(end):.{digits}f}" for end in ends)
    if ratio.ci_high < 1:
        return f"The loaded file takes {change} % less {what} than this one ({high} to {low} %)."
    if ratio.ci_low > 1:
        return f"The loaded file takes {change} % more {what} than this one ({low} to {high} %)."
    change, low, high = (f"{end:+.{digits}f}" for end in ends)
    return f"The two cannot be told apart in {what}: {change} % ({low} to {high} %)."
