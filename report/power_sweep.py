"""``powercap.csv``, the sweep's part of ``report.md``, and ``powercap.svg``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.power_caps import CONFIDENCE, CapResult, Sweep, percent, verdicts
from ..records import Estimate, Run
from ..tables.csv import write_frame
from ..tables.decimals import with_half_width
from ..tables.figure import PlotsUnavailableError, new_figure
from ..tables.markdown import block, bullets, inline, of_table
from ..tables.table import BLANK, Table
from ..tables.text import as_text
from .export import append_runs

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = ("Cap", "n", "J/img", "s/img", "Mean power", "Energy", "Time")
COLUMNS = [
    "condition",
    "board",
    "energy_meter",
    "is_denoising_only",
    "cap_w",
    "is_baseline",
    "failed",
    *(
        f"{metric}_{part}"
        for metric in ("j_per_img", "s_per_img")
        for part in ("mean", "ci95", "n")
    ),
    "mean_power_w",
    *(f"{metric}_ratio{part}" for metric in ("energy", "time") for part in ("", "_low", "_high")),
    "ratio_confidence",
]
TABLE_FILE, PLOT_FILE = "powercap.csv", "powercap.svg"


def write_sweeps(runs: Sequence[Run], sweeps: Sequence[Sweep], folder: Path) -> list[Path]:
    """Add the runs to the tables in ``folder``, and write ``powercap.csv`` and the plot.

    Those of an earlier sweep stay beside them, with a number. The plot is left out where
    matplotlib is missing. Returns where the files lie.

    Raises:
        OSError: the folder cannot be made or written.
        ValueError: see :func:`.export.append_runs`.
    """
    for name in (TABLE_FILE, PLOT_FILE):
        _keep(folder / name)
    table = write_frame(sweep_frame(sweeps), folder / TABLE_FILE)
    try:
        _write_plot(sweeps, folder / PLOT_FILE)
    except PlotsUnavailableError:
        plots = []
    else:
        plots = [folder / PLOT_FILE]
    preface = [line for sweep in sweeps for line in _section(sweep)]
    preface += [f"![Energy and time against the cap]({path.name})\n" for path in plots]
    preface += ["## All runs", ""]
    return [*append_runs(runs, folder, preface), table, *plots]


def _keep(path: Path) -> None:
    """Give a file that is there the first name with a number that is free."""
    if path.exists():
        names = (path.with_stem(f"{path.stem}_{number}") for number in count(1))
        path.replace(next(name for name in names if not name.exists()))


def sweep_text(sweep: Sweep, width: int | None = None) -> str:
    """A sweep as text for a terminal, in lines of at most ``width`` where that is given."""
    return f"{sweep.condition} on {sweep.board}\n{as_text(_table(sweep), width)}"


def sweep_frame(sweeps: Sequence[Sweep]) -> pd.DataFrame:
    """A row for each cap, with the columns :data:`COLUMNS`."""
    import pandas as pd

    rows = [_row(sweep, cap) for sweep in sweeps for cap in sweep.caps]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(sweep: Sweep, cap: CapResult) -> dict[str, object]:
    ratios = cap.energy_ratio, cap.time_ratio
    return {
        "condition": sweep.condition,
        "board": sweep.board,
        "energy_meter": sweep.meter,
        "is_denoising_only": sweep.is_denoising_only,
        "cap_w": cap.cap_w,
        "is_baseline": cap.cap_w == sweep.baseline_w,
        "failed": cap.failed,
        **_estimate_cells("j_per_img", cap.energy),
        **_estimate_cells("s_per_img", cap.time),
        "mean_power_w": cap.power_w,
        **_ratio_cells("energy", cap.energy_ratio),
        **_ratio_cells("time", cap.time_ratio),
        "ratio_confidence": next((r.confidence for r in ratios if r is not None), None),
    }


def _estimate_cells(metric: str, value: Estimate | None) -> dict[str, object]:
    if value is None:
        return {f"{metric}_n": 0}
    half = value.half_width if value.n > 1 else None
    return {f"{metric}_mean": value.value, f"{metric}_ci95": half, f"{metric}_n": value.n}


def _ratio_cells(metric: str, ratio: Estimate | None) -> dict[str, object]:
    if ratio is None:
        return {}
    return {
        f"{metric}_ratio": ratio.value,
        f"{metric}_ratio_low": ratio.ci_low,
        f"{metric}_ratio_high": ratio.ci_high,
    }


def _table(sweep: Sweep) -> Table:
    notes = [*verdicts(sweep), *_explanations(sweep)]
    return Table(HEADINGS, tuple(_cells(sweep, cap) for cap in sweep.caps), tuple(notes))


def _cells(sweep: Sweep, cap: CapResult) -> tuple[str, ...]:
    is_baseline = cap.cap_w == sweep.baseline_w
    return (
        f"{cap.cap_w:g} W" + (" (baseline)" if is_baseline else ""),
        f"{cap.time.n if cap.time else 0}" + (f", {cap.failed} failed" if cap.failed else ""),
        _plus_minus(cap.energy),
        _plus_minus(cap.time),
        BLANK if cap.power_w is None else f"{cap.power_w:.0f} W",
        BLANK if is_baseline else percent(cap.energy_ratio),
        BLANK if is_baseline else percent(cap.time_ratio),
    )


def _plus_minus(value: Estimate | None) -> str:
    return BLANK if value is None else with_half_width(value.value, value.half_width)


def _explanations(sweep: Sweep) -> Iterator[str]:
    confidence = next((cap.energy_ratio.confidence for cap in sweep.caps if cap.energy_ratio), None)
    yield f"± is half of the {CONFIDENCE:.0%} interval of the mean."
    if confidence is not None:
        yield (
            "Energy and Time are changes against the baseline, by pairs of runs, with intervals "
            f"that hold for all caps together at {CONFIDENCE:.0%} ({confidence:.1%} each)."
        )
    if sweep.is_denoising_only:
        yield "Energy and time are those of denoising: nothing else of the images was measured."
    if sweep.note:
        yield f"Energy: {sweep.note}"
    for reason in sweep.not_counted:
        yield f"Not counted: {reason}"


def _section(sweep: Sweep) -> list[str]:
    table = _table(sweep)
    where = block(f"{sweep.board}, meter: {sweep.meter or BLANK}")
    heading = f"## Power caps: {inline(sweep.condition)}"
    return [heading, "", where, "", *of_table(table), "", *bullets(table.notes), ""]


def _write_plot(sweeps: Sequence[Sweep], path: Path) -> None:
    """Joules and seconds of an image against the cap.

    Raises:
        PlotsUnavailableError: without matplotlib.
        OSError: the file cannot be written.
    """
    figure = new_figure(6, 6)
    upper, lower = figure.subplots(2, sharex=True)
    for sweep in sweeps:
        _draw(upper, sweep, [(cap.cap_w, cap.energy) for cap in sweep.caps])
        _draw(lower, sweep, [(cap.cap_w, cap.time) for cap in sweep.caps])
    upper.set_ylabel("J per image")
    lower.set_ylabel("s per image")
    lower.set_xlabel("Power cap, W")
    upper.legend()
    figure.savefig(path, metadata={"Date": None})


def _draw(axes: object, sweep: Sweep, points: list[tuple[float, Estimate | None]]) -> None:
    known = [(cap_w, value) for cap_w, value in points if value is not None]
    halves = [value.half_width if value.n > 1 else 0.0 for _, value in known]
    axes.errorbar(  # type: ignore[attr-defined]
        [cap_w for cap_w, _ in known],
        [value.value for _, value in known],
        yerr=halves,
        fmt="o-",
        capsize=3,
        label=sweep.condition,
    )
