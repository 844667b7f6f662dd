"""The sections of a page, in their order; each says why where it has nothing to show."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..analysis.breakdown import ENERGIES, TIMES
from ..analysis.columns import ENVIRONMENT_COLUMNS
from ..analysis.comparison import BASELINE
from ..analysis.kernels_and_pictures import what_ran
from ..tables.csv import frame_text
from ..tables.table import BLANK, Table
from . import charts
from .blanks import blank_reasons
from .breakdown import breakdown_table
from .folder import (
    MOST_PICTURES,
    Picture,
    Tuned,
    pictures_in,
    place_of,
    thumbnail,
)
from .glance import glance_blocks
from .page import (
    MOST_ROWS,
    Block,
    Page,
    absent,
    cut,
    estimated,
    figure,
    figure_block,
    interval,
    is_known,
    span,
    table_block,
)
from .page_beside import not_measured, pictures_against_energy, published
from .quality import QUALITY_NOTES, quality_table, title_of
from .summary import plus_minus, summary_table

if TYPE_CHECKING:
    import pandas as pd

PLAIN_BYTES, DOWNLOAD_BYTES = 100_000, 450_000
"""A table of more bytes is packed; more than the second number is too much for a page."""

OBJECTIVES = {"j_per_img": "J/img", "s_per_img": "s/img", "peak_vram": "VRAM"}
PHASES = ("Load", "Encode", "Denoise", "Decode")
ORDERED = {
    "s_per_img": ("s/img", 1),
    "j_per_img": ("J/img", 1),
    "mean_power_w": ("Mean power (W)", 1),
    "temperature_max_c": ("Highest temperature (°C)", 1),
    "sm_clock_mean_hz": ("Mean SM clock (MHz)", 1e6),
}
"""Columns that are shown run by run, each with its heading and what it is divided by."""
METHOD = (
    "Every number is of runs that were measured, or blank with its reason. Warm-ups, failed runs "
    "and runs that do not count are in the raw table and in no mean.",
    "Intervals are Student-t at 95 %, over the means of visits where there are several server "
    "processes, else over repeats. Ratios are geometric means over runs of the same seed in the "
    "same process, of a study in the same block.",
    "Energy is gross, of the device that the column Energy from names, and not of the whole "
    "computer at the wall.",
)


def sections(page: Page) -> list[dict[str, Any]]:
    """Each with ``id``, ``title`` and ``blocks``, which the template knows by their ``kind``."""
    made: dict[str, tuple[str, Callable[[Page], Iterator[Block]]]] = {
        "verdict": ("Verdict", _verdict),
        **{one.key: (one.title, one.make) for one in page.added},
        "pictures": ("Pictures and what they cost", _pictures),
        "ratios": ("Against the baseline", _ratios),
        "trade-off": ("Energy against time", _trade_off),
        "distance": ("Energy against picture distance", pictures_against_energy),
        "quality": ("Energy against quality", _quality),
        "published": ("Beside the published", published),
        "phases": ("Phases", _phases),
        "order": ("Every run, in order", _order),
        "ran": ("What ran", _ran),
        "environment": ("Environment", _environment),
        "skipped": ("What was not measured", not_measured),
        "method": ("How it was measured", _method),
        "raw": ("Raw tables", _raw),
    }
    return [
        {"id": key, "title": page.t(title), "blocks": list(make(page))}
        for key, (title, make) in made.items()
    ]


def _verdict(page: Page) -> Iterator[Block]:
    for tuned in page.tuned:
        yield {"kind": "lead", "text": page.t(page.scrub(tuned.sentence))}
        if tuned.rule:
            yield {"kind": "text", "text": page.t(page.scrub(tuned.rule))}
        if tuned.settings:
            pairs = [page.scrub(f"{lever}: {value}") for lever, value in tuned.settings.items()]
            yield {"kind": "items", "title": page.t("Settings"), "items": pairs}
        if tuned.left_out:
            left_out = [page.t(page.scrub(line)) for line in tuned.left_out]
            yield {"kind": "items", "title": page.t("Not tried"), "items": left_out}
    if page.shown.glance is None:
        text = "No run of the baseline counts, so that there is no verdict."
        yield {"kind": "lead", "text": page.t(text)}
    else:
        yield from glance_blocks(page, page.shown.glance, leads=not page.tuned)
    left_out = [
        f"{page.labels[row]}: {page.t(why)}"
        for verdict in page.shown.verdicts
        for row, why in verdict.left_out
    ]
    if left_out and not page.tuned:
        yield {"kind": "items", "title": page.t("Not in the verdict"), "items": left_out}


def _pictures(page: Page) -> Iterator[Block]:
    shown: list[dict[str, Any]] = []
    files = page.given.frame.set_index("run_id")["picture_file"]
    for number, condition in enumerate(page.shown.conditions):
        for name in files.loc[condition.measured["run_id"]]:
            places = (place_of(name, folder) for folder in page.folders) if name else iter(())
            path = next((place for place in places if place), None)
            picture = path and thumbnail(path, page.with_prompts, page.scrub)
            if picture and len(shown) < MOST_PICTURES:
                shown.append(_costing(page, number, picture))
                break
    if not shown:
        for path in [path for folder in page.folders for path in pictures_in(folder)]:
            picture = thumbnail(path, page.with_prompts, page.scrub)
            if picture and len(shown) < MOST_PICTURES:
                stem = page.scrub(path.stem)
                note = page.t("The table does not say which run made it, nor what it cost.")
                shown.append(
                    {"picture": picture, "name": stem, "alternative": stem, "lines": [note]}
                )
    if shown:
        yield {"kind": "pictures", "pictures": shown}
    else:
        yield absent(page, "There are no pictures in the folder that can be read.")


def _costing(page: Page, number: int, picture: Picture) -> dict[str, Any]:
    row, name = page.rows[number], page.names[number]
    cost = f"{plus_minus(row, 'j_per_img')} J/img, {plus_minus(row, 'img_per_s')} img/s"
    faults = [fault for fault in page.shown.conditions[number].measured["picture_fault"] if fault]
    return {
        "picture": picture,
        "name": name,
        "alternative": f"{page.t('Picture of')} {name}",
        "lines": [page.t(cost), *map(page.t, dict.fromkeys(faults))],
    }


def _ratios(page: Page) -> Iterator[Block]:
    for tuned in page.tuned:
        if tuned.candidates is not None:
            yield from _candidates(page, tuned)
    for cells in page.cells:
        yield from _cells(page, cells)
    rows = [
        charts.Interval(
            label, row["j_per_img_ratio"], row["j_per_img_ratio_low"], row["j_per_img_ratio_high"]
        )
        for label, row in zip(page.labels, page.rows, strict=True)
        if row["comparison_note"] != BASELINE and is_known(row["j_per_img_ratio"])
    ]
    if rows:
        yield _forest(page, rows, "× J/img")
    elif not page.tuned:
        yield absent(page, "No energy of an image has a ratio to the baseline's.")
    table = summary_table(page.shown)
    if table.rows:
        caption = "Conditions: mean ± half width of the 95 % interval; × is against the baseline"
        yield table_block(page, caption, table, blank_reasons(table, page.shown))
    else:
        yield absent(page, "No run counts, so that there is nothing to average.")


def _candidates(page: Page, tuned: Tuned) -> Iterator[Block]:
    frame = tuned.candidates
    if frame is None:
        return
    records: list[dict[Any, Any]] = [
        {k: page.scrub(v) if isinstance(v, str) else v for k, v in row.items()}
        for row in frame.to_dict("records")
    ]
    rows = [
        charts.Interval(str(r["candidate"]), r["ratio"], r["ratio_low"], r["ratio_high"])
        for r in records
        if is_known(r["ratio"])
    ]
    if rows:
        yield _forest(page, rows, f"× {OBJECTIVES.get(tuned.objective, tuned.objective)}")
    headings = (
        "Candidate",
        "Stage",
        "Blocks",
        "Ratio",
        "s/img",
        "J/img",
        "Peak VRAM (GiB)",
        "Way to another picture",
        "Fault",
    )
    cells = tuple(
        (
            str(r["candidate"]),
            str(r["stage"]),
            figure(r["blocks"], ".0f"),
            interval(r["ratio"], r["ratio_low"], r["ratio_high"]),
            figure(r["s_per_img"], ".4g"),
            figure(r["j_per_img"], ".4g"),
            figure(r["peak_vram_bytes"] / 2**30, ".2f"),
            figure(r["picture_share"], ".1%"),
            str(r["fault"]) or BLANK,
        )
        for r in records
    )
    yield table_block(page, "What was tried, against what there was", Table(headings, cells))


def _cells(page: Page, cells: pd.DataFrame) -> Iterator[Block]:
    """What a matrix measured, cell by cell."""
    records: list[dict[Any, Any]] = cells[cells["status"] == "measured"].to_dict("records")
    names = [page.scrub(str(record["cell"])) for record in records]
    for quantity in ("j_per_img", "s_per_img"):
        low, high = f"{quantity}_ratio_low", f"{quantity}_ratio_high"
        rows = [
            charts.Interval(name, record[f"{quantity}_ratio"], record[low], record[high])
            for name, record in zip(names, records, strict=True)
            if is_known(record[f"{quantity}_ratio"])
        ]
        if rows:
            yield _forest(page, rows, f"× {OBJECTIVES[quantity]}")
    lines = tuple(
        (
            name,
            str(record["visits"]),
            *(
                text
                for quantity in ("s_per_img", "j_per_img")
                for text in (
                    figure(record[quantity], ".4g"),
                    interval(*(record[f"{quantity}_ratio{end}"] for end in ("", "_low", "_high"))),
                )
            ),
        )
        for name, record in zip(names, records, strict=True)
    )
    if lines:
        headings = ("Cell", "Visits", "s/img", "× s/img", "J/img", "× J/img")
        yield table_block(page, "Cells, against their baselines", Table(headings, lines))


def _forest(page: Page, rows: Sequence[charts.Interval], axis: str) -> Block:
    drawn = rows[:MOST_ROWS]
    told = "; ".join(f"{r.label}: {page.t(interval(r.value, r.low, r.high))}" for r in drawn)
    caption = page.t("Ratios to the baseline with their 95 % intervals; left of 1 is less")
    return figure_block(
        f"{caption}{cut(page, len(rows))}", told, charts.forest(drawn, page.t(axis), page.t)
    )


def _trade_off(page: Page) -> Iterator[Block]:
    points = page.shown.trade_offs
    if not points:
        yield absent(page, "No condition has both a time and an energy of an image.")
        return
    drawn = [(page.labels[p.row], p.time_s, p.energy_j, p.is_on_front) for p in points[:MOST_ROWS]]
    named = [(f"{n}", x, y, on) for n, (_, x, y, on) in enumerate(drawn, 1)]
    on_front = ", ".join(label for label, *_, is_on_front in drawn if is_on_front)
    svg = charts.scatter(named, ("s/img", "J/img"), page.t)
    caption = page.t(
        "Time and energy of an image with 95 % intervals; full dots are the front, where nothing "
        "takes less of both. Numbers are those of the table"
    )
    yield figure_block(caption + cut(page, len(points)), f"{caption}: {on_front}", svg)
    rows = tuple(
        (
            f"{n}. {page.names[p.row]}",
            estimated(p.time_s),
            estimated(p.energy_j),
            page.t("yes") if p.is_on_front else page.t(p.left_out or "no"),
        )
        for n, p in enumerate(points, 1)
    )
    table = Table(("Condition", "s/img", "J/img", "On the front"), rows)
    yield table_block(
        page, "Energy against time; fronts are of equal work in equal environments", table
    )


def _quality(page: Page) -> Iterator[Block]:
    if not page.shown.quality_trade_offs:
        yield absent(page, "No quality of pictures was measured: Picture Metrics does.")
        return
    for metric, points in page.shown.quality_trade_offs:
        title = page.t(title_of(metric))
        drawn = [
            (f"{n}", p.energy_j, p.quality, p.is_on_front)
            for n, p in enumerate(points[:MOST_ROWS], 1)
        ]
        on_front = ", ".join(page.labels[p.row] for p in points if p.is_on_front)
        caption = page.t("Energy and quality with 95 % intervals; full dots are the front")
        svg = charts.scatter(drawn, ("J/img", title), page.t)
        yield figure_block(f"{caption}: {title}{cut(page, len(points))}", on_front, svg)
        names = dict(enumerate(page.names))
        numbered = [f"{n}. {names[p.row]}" for n, p in enumerate(points, 1)]
        own = [replace(p, row=n) for n, p in enumerate(points)]
        yield table_block(page, "Energy against quality", quality_table(metric, own, numbered))
    yield {"kind": "items", "title": "", "items": [page.t(note) for note in QUALITY_NOTES]}


def _phases(page: Page) -> Iterator[Block]:
    parts = page.shown.parts[:MOST_ROWS]
    columns = {"s": ("load_time_s", *TIMES), "J": ("", *ENERGIES)}
    panels = {
        unit: {
            page.t(name): [part[c].value if c in part else None for part in parts]
            for name, c in zip(PHASES, own, strict=True)
        }
        for unit, own in columns.items()
        if any(c in part for part in parts for c in own)
    }
    if not panels:
        yield absent(page, "No phase of a run was observed.")
        return
    svg = charts.stacked(page.labels[: len(parts)], panels, page.t)
    caption = page.t("Phases of a run, on one scale; loading has no energy here")
    alternative = page.t("The numbers are in the table that follows.")
    yield figure_block(caption + cut(page, len(page.rows)), alternative, svg)
    table = breakdown_table(page.shown)
    yield table_block(page, "Phases: mean ± half width", table, blank_reasons(table, page.shown))


def _order(page: Page) -> Iterator[Block]:
    frame = page.shown.frame
    counted = frame[(frame["error"] == "") & (frame["not_counted"] == "") & ~frame["is_warmup"]]
    counted = counted.sort_values("started_at", kind="stable")
    panels = {
        page.t(title): (counted[column].astype("float64") / divisor).tolist()
        for column, (title, divisor) in ORDERED.items()
        if counted[column].notna().any()
    }
    if not panels:
        yield absent(page, "No run counts, or none of them has a time or an energy.")
        return
    rows = {
        run_id: n
        for n, condition in enumerate(page.shown.conditions)
        for run_id in condition.measured["run_id"]
    }
    groups = counted["run_id"].map(rows).tolist()
    svg = charts.dots(panels, groups, page.labels, page.t("Run"), page.t)
    told = "; ".join(f"{name}: {page.t(span(values))}" for name, values in panels.items())
    caption = page.t(
        "Each run that counts, in the order of their start; a shape and colour for each condition. "
        "What rises or falls along the way is drift"
    )
    yield figure_block(caption, told, svg)


def _ran(page: Page) -> Iterator[Block]:
    headings = (
        "Condition",
        "Attention asked",
        "Attention that ran",
        "Attention fall-backs",
        "Weights asked",
        "Products that ran",
        "Products that fell back",
    )
    found = [(c.measured, what_ran(c.measured)) for c in page.shown.conditions]
    if not any(any(ran.values()) for _, ran in found):
        yield absent(page, "No kernel was counted in these runs.")
        return
    rows = tuple(
        (
            name,
            str(row["attention"]) or BLANK,
            ran["attention_executed"] or BLANK,
            page.t(ran["attention_fallbacks"]) or page.t("none"),
            str(row["weight_format"]) or BLANK,
            ran["linear_executed"] or BLANK,
            page.t(ran["linear_fallbacks"]) or page.t("none"),
        )
        for name, row, (_, ran) in zip(page.names, page.rows, found, strict=True)
    )
    yield table_block(
        page, "Kernels with the number of their calls in a run", Table(headings, rows)
    )


def _environment(page: Page) -> Iterator[Block]:
    machines = page.shown.frame[ENVIRONMENT_COLUMNS].drop_duplicates()
    if machines.empty:
        yield absent(page, "The table holds no runs.")
        return
    rows = tuple(
        (column, *(str(v) if v == v and v != "" else BLANK for v in machines[column]))
        for column in ENVIRONMENT_COLUMNS
    )
    headings = ("", *(f"{page.t('Environment')} {n}" for n in range(1, len(machines) + 1)))
    table = Table((page.t("Property"), *headings[1:]), rows)
    yield table_block(
        page,
        "Environments; cards are numbered, and — is what this machine tells not",
        table,
        verbatim=True,
    )


def _method(page: Page) -> Iterator[Block]:
    yield {"kind": "items", "title": "", "items": [page.t(line) for line in METHOD]}
    notes = [page.t(note) for note in page.shown.notes]
    yield {"kind": "items", "title": page.t("Notes and warnings"), "items": notes}


def _raw(page: Page) -> Iterator[Block]:
    tables = {"summary.csv": frame_text(page.shown.summary)}
    for number, tuned in enumerate(page.tuned, 1):
        if tuned.candidates is not None:
            clean = tuned.candidates.map(lambda c: page.scrub(c) if isinstance(c, str) else c)
            name = "candidates.csv" if len(page.tuned) == 1 else f"candidates_{number}.csv"
            tables[name] = frame_text(clean)
    tables["runs.csv"] = frame_text(page.shown.frame)
    room, files = DOWNLOAD_BYTES, []
    for name, text in tables.items():
        data, kind = text.encode(), "text/csv;charset=utf-8"
        lines = page.t(f"{text.count(chr(10)) - 1} rows")
        if len(data) > PLAIN_BYTES:
            name, data, kind = f"{name}.gz", gzip.compress(data, mtime=0), "application/gzip"
        uri = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        room -= len(uri)
        if room < 0:
            lines = page.t("too large for a page; it lies in the folder of results")
            files.append({"name": name, "uri": "", "text": f"{name}: {lines}"})
        else:
            files.append({"name": name, "uri": uri, "text": lines})
    yield {"kind": "downloads", "files": files}
