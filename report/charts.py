"""Charts of a page as SVG that takes the page's colours; they need matplotlib."""

from __future__ import annotations

import hashlib
import io
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..records import Estimate
from ..tables.figure import new_figure
from ..tables.text import printable

WIDTH_IN = 4.4
"""At 360 px a chart is shown as it is drawn, on a screen larger."""

LABEL_CHARS, MOST_NAMED = 44, 10
MOST_VECTOR_DOTS = 400
"""More dots than this become a picture within the chart, or the page would grow by megabytes."""

INK, FAINT = "#000001", "#000002"
SERIES = ("#000003", "#000004", "#000005", "#000006")
COLOURS = {
    INK: "currentColor",
    FAINT: "var(--line)",
    **{colour: f"var(--c{number})" for number, colour in enumerate(SERIES, 1)},
}
"""Colours that stand for the page's while a chart is drawn."""

RASTER = ("#2f8fbf", "#c9703a", "#4c9a5e", "#9a6cc0")
"""Of dots in a picture, which no style sheet reaches: to be seen on light and dark."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), FAINT),
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class Interval:
    """A row of a forest plot: a ratio with the ends of its interval, NaN where it has none."""

    label: str
    value: float
    low: float
    high: float


def forest(rows: Sequence[Interval], axis: str, write: Callable[[str], str]) -> str:
    """Ratios with their intervals, a line at 1."""
    with _drawn(0.7 + 0.5 * len(rows)) as (figure, svg):
        axes = figure.add_subplot()
        axes.axvline(1, color=INK, linewidth=1, linestyle="--")
        for place, row in enumerate(rows):
            if math.isfinite(row.low) and math.isfinite(row.high):
                axes.plot([row.low, row.high], [place, place], color=SERIES[0], linewidth=3)
            axes.plot(row.value, place, "o", color=SERIES[0], markersize=7)
            _label(axes, place, row.label)
        axes.set_yticks([])
        axes.set_ylim(len(rows) - 0.6, -0.8)
        _finish(axes, axis, write)
    return svg()


def stacked(
    labels: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[float | None]]],
    write: Callable[[str], str],
) -> str:
    """Bars of parts, a panel for each unit, all bars of a panel on one scale from 0."""
    with _drawn((1.1 + 0.5 * len(labels)) * len(panels) + 0.8) as (figure, svg):
        rows = figure.subplots(len(panels), squeeze=False)[:, 0]
        for axes, (unit, parts) in zip(rows, panels.items(), strict=True):
            ends = [0.0] * len(labels)
            for colour, (name, values) in zip(SERIES, parts.items(), strict=False):
                known = [value or 0.0 for value in values]
                axes.barh(range(len(labels)), known, 0.42, ends, color=colour, label=name)
                ends = [end + value for end, value in zip(ends, known, strict=True)]
            for place, label in enumerate(labels):
                _label(axes, place, label)
            axes.set_yticks([])
            axes.set_ylim(len(labels) - 0.6, -0.8)
            axes.set_xlim(left=0)
            _finish(axes, unit, write)
        handles, names = rows[0].get_legend_handles_labels()
        _legend(figure, handles, names)
    return svg()


def scatter(
    points: Sequence[tuple[str, Estimate, Estimate, bool]],
    axes_names: tuple[str, str],
    write: Callable[[str], str],
    context: Sequence[tuple[str, float, float]] = (),
) -> str:
    """Points with intervals both ways; those on the front are full, named and joined by a line.

    ``context`` are points of others: small, grey, without intervals.
    """
    with _drawn(4.2) as (figure, svg):
        axes = figure.add_subplot()
        for label, across, up in context:
            axes.plot([across], [up], "s", color=FAINT, markersize=5)
            axes.annotate(
                label, (across, up), xytext=(4, -9), textcoords="offset points", fontsize=7
            )
        joined = sorted((x.value, y.value) for _, x, y, on_front in points if on_front)
        if joined:
            line = {"color": SERIES[0], "linewidth": 1, "drawstyle": "steps-post"}
            axes.plot(*zip(*joined, strict=True), **line)
        for label, x, y, on_front in points:
            spread = {
                key: [[0 if e.half_width != e.half_width else e.half_width]]
                for key, e in (("xerr", x), ("yerr", y))
            }
            face = SERIES[0] if on_front else "none"
            style = {"color": SERIES[0] if on_front else INK, "markerfacecolor": face}
            axes.errorbar([x.value], [y.value], **spread, fmt="o", elinewidth=1, **style)
            axes.annotate(
                label, (x.value, y.value), xytext=(5, 5), textcoords="offset points", fontsize=9
            )
        axes.margins(0.15)
        axes.set_ylabel(axes_names[1])
        axes.yaxis.set_major_formatter(_numbers(write))
        _finish(axes, axes_names[0], write)
    return svg()


def dots(
    panels: Mapping[str, Sequence[float]],
    groups: Sequence[int],
    labels: Sequence[str],
    axis: str,
    write: Callable[[str], str],
) -> str:
    """Values in the order they were measured, a panel each; ``labels`` are of ``groups``."""
    is_many = len(groups) > MOST_VECTOR_DOTS
    places_of: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        places_of.setdefault(group, []).append(place)
    with _drawn(0.8 + 1.5 * len(panels)) as (figure, svg):
        rows = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, (name, values) in zip(rows, panels.items(), strict=True):
            for group, places in sorted(places_of.items()):
                axes.plot(
                    [place + 1 for place in places],
                    [values[place] for place in places],
                    marker="osD^v"[group % 5],
                    markersize=2 if is_many else 4,
                    color=(RASTER if is_many else SERIES)[group % len(SERIES)],
                    linestyle="none",
                    rasterized=is_many,
                )
            axes.set_title(name, loc="left", fontsize=10)
            axes.grid(axis="y", linewidth=0.5)
            axes.yaxis.set_major_formatter(_numbers(write))
        _finish(rows[-1], axis, write)
        if len(places_of) > 1:
            handles = rows[0].get_lines()[:MOST_NAMED]
            names = [_short(labels[group]) for group in sorted(places_of)[:MOST_NAMED]]
            _legend(figure, handles, names)
    return svg()


@contextmanager
def _drawn(height_in: float) -> Iterator[tuple[Any, Callable[[], str]]]:
    """A figure to draw in and, afterwards, its SVG."""
    figure = new_figure(WIDTH_IN, height_in)
    from matplotlib import rc_context

    found: list[str] = []
    with rc_context({**STYLE, "svg.hashsalt": "wattbench"}), warnings.catch_warnings():
        # The browser has the letters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph")
        yield figure, lambda: found[0]
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, dpi=150, transparent=True)
    found.append(_embedded(text.getvalue()))


def _embedded(svg: str) -> str:
    """The drawing for the inside of a page: ids of its own, colours of the page's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.S)
    view = re.search(r'viewBox="[^"]*"', svg)
    own = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r"^<svg[^>]*>", f'<svg {view[0] if view else ""} aria-hidden="true">', svg)

    def own_names(tag: re.Match[str]) -> str:
        """Of tags alone: a label may say anything, and its brackets are escaped."""
        text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}-", tag[0])
        text = re.sub("#00000[1-6]", lambda match: COLOURS[match[0]], text)
        return text.replace("xlink:href=", "href=")

    return re.sub("<[^>]*>", own_names, svg)


def _label(axes: Any, place: int, label: str) -> None:
    """A label above its row, where it takes no width from the chart."""
    where = axes.get_yaxis_transform()
    axes.text(0.01, place - 0.3, _short(label), transform=where, va="bottom", fontsize=9)


def _legend(figure: Any, handles: Sequence[Any], names: Sequence[str]) -> None:
    columns = 2 if max(map(len, names)) < LABEL_CHARS // 2 else 1
    figure.legend(handles, names, loc="outside upper left", ncols=columns)


def _short(label: str) -> str:
    return textwrap.shorten(printable(label), LABEL_CHARS, placeholder=" …") or "—"


def _finish(axes: Any, name: str, write: Callable[[str], str]) -> None:
    axes.set_xlabel(name)
    axes.grid(axis="x", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(_numbers(write))


def _numbers(write: Callable[[str], str]) -> Callable[[float, int], str]:
    return lambda value, _: write(f"{value:.6g}")
