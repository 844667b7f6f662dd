"""Tables 2 to 4 of the study of edge nodes, with the user's own rows among the published ones."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...analysis.analysis import Analysis
from ...law.data import DATA, EDGE_NODES_CSV
from ...tables.table import BLANK, Table
from .page import (
    OWN_COLOUR,
    PUBLISHED_COLOUR,
    Figure,
    Section,
    StudyPage,
    differences,
    likeness,
    measured_rows,
    number,
    with_stdev,
)

PEAK_VRAM_CSV = DATA / "edge_nodes_peak_vram.csv"
GIB = 2**30


@dataclass(frozen=True)
class Workload:
    """One of the study's two, with the settings of its text; ``architectures`` begin so."""

    name: str
    title: str
    architecture: str
    settings: dict[str, object]


@dataclass(frozen=True)
class Bar:
    """A peak of VRAM in GiB, as Figure 1 has it."""

    workload: str
    label: str
    peak: float
    stdev: float
    is_own: bool = False


WORKLOADS = (
    Workload(
        "z-image-turbo",
        "Table 2: Z-Image Turbo, 8 steps",
        "z_image",
        {
            "architecture": "z_image",
            "width_px": 1024,
            "height_px": 1024,
            "batch_size": 1,
            "steps": 8,
            "cfg": 1.0,
            "sampler": "res_multistep",
            "scheduler": "linear_quadratic",
            "weight_format": "float8_e4m3fn",
        },
    ),
    Workload(
        "sdxl-illustrious",
        "Table 3: Illustrious (SDXL), 30 steps",
        "sdxl",
        {
            "architecture": "sdxl",
            "width_px": 1024,
            "height_px": 1024,
            "batch_size": 1,
            "steps": 30,
            "cfg": 7.5,
            "sampler": "euler",
            "weight_format": "fp16",
        },
    ),
)


def sections(analysis: Analysis) -> Sequence[Section]:
    rows = _told_apart(measured_rows(analysis))
    own = {
        workload.name: [r for r in rows if str(r["architecture"]).startswith(workload.architecture)]
        for workload in WORKLOADS
    }
    return [*(_speed(one, own[one.name]) for one in WORKLOADS), _memory(own)]


def _speed(workload: Workload, own: Sequence[dict[Any, Any]]) -> Section:
    published = [row for row in _read(EDGE_NODES_CSV) if row["workload"] == workload.name]
    rows = [
        (
            row["gpu"],
            f"{row['it_per_s']} ± {row['it_per_s_stdev']}",
            f"{row['img_per_kwh']} ± {row['img_per_kwh_stdev']}",
            row["it_per_s_ci95"] or BLANK,
            "published",
        )
        for row in published
    ]
    rows += [
        (
            f"yours: {name_of(row)}",
            with_stdev(row, "it_per_s", ".3f"),
            with_stdev(row, "img_per_kwh", ".2f"),
            number(row["it_per_s_ci95"]),
            likeness(row, workload.settings),
        )
        for row in own
    ]
    headings = ("GPU", "It/s ± stdev", "Img/kWh ± stdev", "CI It/s", "Likeness")
    sentences = tuple(
        sentence
        for row in own
        if not differences(row, workload.settings)
        for sentence in standing(row, published)
    )
    if not own:
        sentences = (f"None of these runs is of {workload.architecture}.",)
    elif not sentences:
        sentences = (
            "None of your rows is the published work, so none has a place among the cards.",
        )
    return Section(workload.title, Table(headings, tuple(rows)), sentences)


def standing(row: dict[Any, Any], published: Sequence[dict[str, str]]) -> Iterator[str]:
    """Between which published cards a row lies, by speed and by energy; five are no population."""
    for metric, unit in (("it_per_s", "it/s"), ("img_per_kwh", "img/kWh")):
        mean = row[f"{metric}_mean"]
        if mean != mean:
            continue
        known = sorted((float(other[metric]), other["gpu"]) for other in published)
        below = [f"{gpu} ({value:g})" for value, gpu in known if value <= mean]
        above = [f"{gpu} ({value:g})" for value, gpu in known if value > mean]
        place = " and ".join(
            part
            for part in (
                f"above {below[-1]}" if below else "",
                f"below {above[0]}" if above else "",
            )
            if part
        )
        yield f"{name_of(row)} makes {mean:.4g} {unit}: {place}."


def _memory(own: dict[str, list[dict[Any, Any]]]) -> Section:
    published = {(row["gpu"], row["workload"]): row for row in _read(PEAK_VRAM_CSV)}
    order = [workload.name for workload in reversed(WORKLOADS)]
    rows, bars = [], []
    for gpu in dict.fromkeys(gpu for gpu, _ in published):
        for name in order:
            peak = published[gpu, name]
            bars.append(Bar(name, gpu, float(peak["peak_vram_gb"]), float(peak["stdev"] or 0)))
        cells = [
            published[gpu, name][column]
            for name in order
            for column in ("peak_vram_gb", "stdev", "ci95")
        ]
        rows.append((gpu, *cells, "published"))
    for name in order:
        workload = next(one for one in WORKLOADS if one.name == name)
        for row in own[name]:
            given = [row[f"peak_vram_bytes_{part}"] for part in ("mean", "stdev", "ci95")]
            values = [number(None if value is None else value / GIB) for value in given]
            mean, stdev, _ = (math.nan if value is None else value / GIB for value in given)
            if math.isfinite(mean):
                spread = stdev if math.isfinite(stdev) else 0.0
                bars.append(Bar(name, f"yours: {name_of(row)}", mean, spread, is_own=True))
            blanks = [BLANK] * 3
            cells = [*values, *blanks] if name == order[0] else [*blanks, *values]
            rows.append((f"yours: {name_of(row)}", *cells, likeness(row, workload.settings)))
    headings = ("GPU", "SDXL peak", "stdev", "CI", "Z-Image peak", "stdev", "CI", "Likeness")
    return Section(
        "Table 4 and Figure 1: peak VRAM",
        Table(headings, tuple(rows)),
        (
            "Your rows are in GiB, of the whole device, sampled. The study prints the same numbers "
            "as GB and as GiB.",
        ),
        (
            Figure(
                "figure1_peak_vram.svg",
                "Figure 1: peak VRAM ± standard deviation, the published in grey, yours in blue",
                partial(_draw_peaks, bars),
                1.5 + 0.25 * len(bars),
            ),
        ),
    )


def _draw_peaks(bars: Sequence[Bar], axes: Any) -> None:
    """A group of bars for each workload, with their standard deviations."""
    order = [one.name for one in reversed(WORKLOADS)]
    placed = sorted(bars, key=lambda bar: order.index(bar.workload))
    axes.barh(
        range(len(placed)),
        [bar.peak for bar in placed],
        xerr=[bar.stdev for bar in placed],
        color=[OWN_COLOUR if bar.is_own else PUBLISHED_COLOUR for bar in placed],
        capsize=2,
    )
    axes.set_yticks(range(len(placed)), [f"{bar.workload}: {bar.label}" for bar in placed])
    axes.invert_yaxis()
    axes.set_xlabel("Peak VRAM (GiB)")


def _told_apart(rows: Sequence[dict[Any, Any]]) -> list[dict[Any, Any]]:
    """The rows, in which cards of one name that are several have numbers."""
    cards: dict[str, list[str]] = {}
    for row in rows:
        of_name = cards.setdefault(row["gpu_name"], [])
        if row["gpu_uuid"] not in of_name:
            of_name.append(row["gpu_uuid"])
    return [
        {**row, "gpu_name": f"{row['gpu_name']} no. {of_name.index(row['gpu_uuid']) + 1}"}
        if len(of_name := cards[row["gpu_name"]]) > 1
        else row
        for row in rows
    ]


def name_of(row: dict[Any, Any]) -> str:
    """The card with what was varied on it."""
    card = row["gpu_name"] or row["cpu_name"] or "this machine"
    cap = row["power_limit_w"]
    parts = [str(card), str(row["attention"]), f"{cap:g} W" if cap == cap and cap else ""]
    return ", ".join(part for part in parts if part)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


EDGE_NODES = StudyPage(
    "edge-nodes",
    "Your runs beside the study of edge nodes",
    "Published: *Impact of GPU Architecture and VRAM on Image Generation*, Tables 2 to 4, on Forge "
    "and Forge Neo. Yours ran in ComfyUI. What the published figures contradict: "
    "docs/published.md.",
    sections,
)
