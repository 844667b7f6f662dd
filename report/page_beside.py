"""Sections of a page on pictures against energy, the published, and what was not measured."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..analysis.pareto import front, left_out_because
from ..analysis.published import (
    FORMATS_SOURCE,
    SOURCE,
    published_beside,
    published_formats,
)
from ..records import Estimate
from ..tables.table import Table
from . import charts
from .page import (
    MOST_ROWS,
    Block,
    Page,
    absent,
    cut,
    estimated,
    figure,
    figure_block,
    is_known,
    table_block,
)


def pictures_against_energy(page: Page) -> Iterator[Block]:
    """How far pictures are from the baseline's, and what they cost; with the front."""
    points = [*_of_candidates(page)] or [*_of_conditions(page)]
    if len(points) < 2:
        yield absent(page, "No two conditions have both a picture's distance and an energy.")
        return
    running = [point for point in points if not point[3]]
    on_front = front([(x.value, y.value) for _, x, y, _ in running])
    marked = {point[0]: on for point, on in zip(running, on_front, strict=True)}
    drawn = [
        (f"{n}", x, y, marked.get(name, False))
        for n, (name, x, y, _) in enumerate(points[:MOST_ROWS], 1)
    ]
    axis = page.t("distance of the picture")
    caption = page.t(
        "Distance of the picture from the baseline's, and energy of an image; full dots are the "
        "front, where nothing is both closer and cheaper. Numbers are those of the table"
    )
    told = ", ".join(name for name, on in marked.items() if on)
    svg = charts.scatter(drawn, (axis, "J/img"), page.t)
    yield figure_block(caption + cut(page, len(points)), f"{caption}: {told}", svg)
    rows = tuple(
        (
            f"{n}. {name}",
            figure(x.value, ".3f"),
            estimated(y),
            page.t("yes") if marked.get(name) else page.t(why or "no"),
        )
        for n, (name, x, y, why) in enumerate(points, 1)
    )
    table = Table(("Condition", "Distance", "J/img", "On the front"), rows)
    title = "Distance: of candidates, the way to another seed's picture, 1 for that; else 1 - SSIM"
    yield table_block(page, title, table)


def _of_candidates(page: Page) -> Iterator[tuple[str, Estimate, Estimate, str]]:
    for tuned in page.tuned:
        if tuned.candidates is not None:
            for row in tuned.candidates.to_dict("records"):
                share = 0.0 if row["candidate"] == "as it is" else row["picture_share"]
                if is_known(share) and is_known(row["j_per_img"]):
                    name, fault = page.scrub(str(row["candidate"])), page.scrub(str(row["fault"]))
                    yield name, _plain(share), _plain(row["j_per_img"]), fault


def _of_conditions(page: Page) -> Iterator[tuple[str, Estimate, Estimate, str]]:
    trade = {point.row: point for point in page.shown.trade_offs}
    baselines = {verdict.baseline for verdict in page.shown.verdicts}
    for row, condition in enumerate(page.shown.conditions):
        ssim = condition.measured["picture_ssim"].dropna()
        if row in trade and (len(ssim) or row in baselines):
            distance = 0.0 if row in baselines else 1 - float(ssim.mean())
            why = left_out_because(condition.measured)
            yield page.names[row], _plain(distance), trade[row].energy_j, why


def _plain(value: float) -> Estimate:
    return Estimate(value, math.nan, math.nan, 0.95, 1, "", math.nan)


def published(page: Page) -> Iterator[Block]:
    """Published cards as grey context, with how like their work is."""
    found = published_beside(page.shown.conditions)
    formats = published_formats(page.shown.conditions)
    if not found and not formats:
        yield absent(page, "No condition does the work of a published measurement.")
        return
    trade = {point.row: point for point in page.shown.trade_offs}
    note = page.t(
        "Published figures are of other machines and programs: context, and no match. The time of "
        "cards is that of denoising alone."
    )
    yield {"kind": "text", "text": note}
    for beside in found:
        own = [trade[row] for row in beside.rows if row in trade][:MOST_ROWS]
        workload = beside.cards[0].workload
        title = f"{SOURCE}. {workload}: {page.t(beside.likeness)}"
        if own:
            points = [(page.labels[p.row], p.time_s, p.energy_j, p.is_on_front) for p in own]
            grey = [(card.card, card.time_s, card.j_per_img) for card in beside.cards]
            told = ", ".join(label for label, *_ in points)
            svg = charts.scatter(points, ("s/img", "J/img"), page.t, grey)
            yield figure_block(title, told, svg)
        rows = tuple(
            (card.card, figure(card.it_per_s, ".3g"), figure(card.j_per_img, ".0f"))
            for card in beside.cards
        )
        yield table_block(page, title, Table(("Card", "it/s", "J/img"), rows))
    if formats:
        title = f"{FORMATS_SOURCE}: {page.t('context only')}"
        lines = tuple(
            (
                f"{one.model}, {one.weight_format}, {one.steps}",
                figure(one.s_per_img, ".3g"),
                figure(one.peak_vram_bytes / 2**30, ".1f"),
            )
            for one in formats
        )
        headings = ("Model, format, steps", "s/img", "Peak VRAM (GiB)")
        yield table_block(page, title, Table(headings, lines))


def not_measured(page: Page) -> Iterator[Block]:
    """Cells of a matrix that were skipped or failed, and why."""
    rows = tuple(
        (page.scrub(cell), page.t(status), page.t(page.scrub(reason)))
        for cells in page.cells
        for cell, status, reason in (
            cells.loc[cells["status"] != "measured", ["cell", "status", "reason"]]
            .fillna("")
            .itertuples(index=False)
        )
    )
    if not rows:
        yield absent(page, "Nothing that was planned is missing.")
        return
    table = Table(("Cell", "Status", "Reason"), rows)
    yield table_block(page, "Cells that were skipped or failed, and why", table)
