"""The sections of ``report.html`` on several cards: side by side, who makes what, the published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ..analysis.pareto import front
from ..errors import UsageError
from ..law.cost import JOULES_PER_KWH, SECONDS_PER_HOUR, Tariff
from ..report import charts
from ..report.page import (
    MOST_ROWS,
    Added,
    Block,
    Page,
    absent,
    cut,
    estimated,
    figure_block,
    table_block,
)
from ..study.published import EDGE_NODES
from ..tables.decimals import with_half_width
from ..tables.table import BLANK, Table
from .page import HEADINGS, NOTES, UNITS, by_joules, cells, least_of
from .queue import Idle, NoPlanError, QueuePlan, plan_queue, usable
from .rows import CardRow, rows_of_analysis

if TYPE_CHECKING:
    from ..analysis.analysis import Analysis

IMAGES = 10_000
MOST_WORKS = 12
"""So many works have a chart and a plan of their own."""

MOST_CARDS = 100
"""Of more, a plan takes longer than a page may."""

LEAST_KWH = 0.001
"""Less is not told."""

ALIKE = 0.01
"""Plans whose times differ by less are one."""

IDLE = {
    "queue": "Cards without work stay on until the queue has ended.",
    "deadline": "Cards without work stay on until the deadline.",
    "off": "Cards without work are off.",
}
UNKNOWN_IDLE = "The idle power of a card was not measured, so that cards without work count as off."


@dataclass(frozen=True)
class Question:
    """What is to be made of each work, by when, and with how much power."""

    images: int = IMAGES
    deadline_s: float | None = None
    power_w: float | None = None
    idle: Idle = "queue"
    tariff: Tariff = field(default_factory=Tariff)


def sections_on_cards(analysis: Analysis, question: Question) -> tuple[Added, ...]:
    """Nothing where all runs are of one card."""
    if len({row.card for row in rows_of_analysis(analysis)}) < 2:
        return ()
    return (
        Added("cards", "Cards side by side", _side_by_side),
        Added("next", "Who makes the next images", partial(_next_images, question)),
        Added("edge-nodes", "Beside the study of edge nodes", _edge_nodes),
    )


def _works(page: Page) -> dict[str, list[CardRow]]:
    found: dict[str, list[CardRow]] = {}
    for row in rows_of_analysis(page.shown):
        found.setdefault(row.work, []).append(row)
    return found


def _side_by_side(page: Page) -> Iterator[Block]:
    works = _works(page)
    headings = ("Work", "Least energy", "J/img", "Least time", "s/img")
    best = tuple((work, *_best(page, rows)) for work, rows in works.items())
    yield table_block(page, "Which card for which work", Table(headings, best))
    yield {"kind": "items", "title": "", "items": [page.t(note) for note in NOTES]}
    for number, (work, rows) in enumerate(works.items()):
        own = sorted(rows, key=by_joules)
        if number < MOST_WORKS:
            yield from _chart(page, work, own)
        table = tuple((f"{n}. {row[0]}", *row[1:]) for n, row in enumerate(map(cells, own), 1))
        yield table_block(page, work, Table(HEADINGS, table))


def _best(page: Page, rows: Sequence[CardRow]) -> Iterator[str]:
    """Who takes the least energy and how much, and who the least time."""
    for name in UNITS:
        best, level, why_not = least_of(rows, name)
        if best is None:
            yield from (page.t(why_not), BLANK)
            continue
        others = ", ".join(map(_named, level))
        told = f"; {page.t('not told apart from it')}: {others}" if level else ""
        yield from (f"{_named(best)}{told}", estimated(getattr(best, name)))


def _chart(page: Page, work: str, rows: Sequence[CardRow]) -> Iterator[Block]:
    """Time and energy of an image on each card, where all energies are of one kind."""
    points = [(n, r, r.seconds, r.joules) for n, r in enumerate(rows, 1) if r.seconds and r.joules]
    if len(points) < 2 or len({row.meter for _, row, _, _ in points}) > 1:
        return
    sound = [point for point in points if not point[1].is_broken]
    marks = front([(x.value, y.value) for _, _, x, y in sound])
    on_front = {n: row for (n, row, _, _), is_on in zip(sound, marks, strict=True) if is_on}
    drawn = [(f"{n}", x, y, n in on_front) for n, _, x, y in points[:MOST_ROWS]]
    caption = page.t(
        "Time and energy of an image with 95 % intervals; full dots are the front, where nothing "
        "takes less of both. Numbers are those of the table"
    )
    told = ", ".join(map(_named, on_front.values()))
    svg = charts.scatter(drawn, ("s/img", "J/img"), page.t)
    yield figure_block(f"{work}. {caption}{cut(page, len(points))}", f"{work}: {told}", svg)


def _named(row: CardRow) -> str:
    return f"{row.gpu} ({row.card}){', ' * bool(row.setting)}{row.setting}"


def _next_images(question: Question, page: Page) -> Iterator[Block]:
    works = _works(page)
    if len({row.card for rows in works.values() for row in rows}) > MOST_CARDS:
        text = f"More than {MOST_CARDS} cards: `wattbench fleet plan` shares images out among them."
        yield absent(page, text)
        return
    yield {
        "kind": "text",
        "text": page.t(
            "Shares in whole images, from means, with the least energy. Energies are of the cards, "
            "not of the machines around them. `wattbench fleet plan` answers other questions."
        ),
    }
    for work, rows in list(works.items())[:MOST_WORKS]:
        good, left_out = usable(rows)
        if not good:
            yield absent(page, f"{work}: {page.t('no row has both a time and an energy.')}")
            continue
        yield from _plans(page, question, work, good)
        if left_out:
            yield {
                "kind": "items",
                "title": page.t("Left out"),
                "items": [
                    ": ".join((head, page.t(why)))
                    for head, _, why in (o.rpartition(": ") for o in left_out)
                ],
            }


def _plans(page: Page, question: Question, work: str, rows: Sequence[CardRow]) -> Iterator[Block]:
    idle, note = question.idle, IDLE[question.idle]
    if any(row.idle_power_w is None for row in rows) and idle != "off":
        idle, note = "off", UNKNOWN_IDLE
    images, power_w = {work: question.images}, question.power_w
    try:
        plans = list(_answers(rows, images, question.deadline_s, power_w, idle))
    except (NoPlanError, UsageError) as error:
        yield absent(page, f"{work}: {error}")
        return
    table = Table(
        ("Asked", "Card", "Setting", "Images", "Hours", "kWh"),
        tuple(
            (
                page.t(asked),
                f"{share.row.gpu} ({share.row.card})",
                share.row.setting or BLANK,
                str(share.images),
                f"{share.time_s / SECONDS_PER_HOUR:.3g}",
                _kwh(share.energy_j),
            )
            for asked, plan in plans
            for share in plan.shares
        ),
    )
    yield table_block(page, f"{work}: {page.t(f'the next {question.images} images')}", table)
    told = [
        f"{page.t(asked)}: {'; '.join(map(page.t, totals(plan, question.tariff)))}"
        for asked, plan in plans
    ]
    yield {"kind": "items", "title": "", "items": [*told, page.t(note)]}


def _answers(
    rows: Sequence[CardRow],
    images: dict[str, int],
    deadline_s: float | None,
    power_w: float | None,
    idle: Idle,
) -> Iterator[tuple[str, QueuePlan]]:
    """Plans by what was asked for: the deadline, or else least energy, least time, and between."""
    if deadline_s is not None:
        hours = f"{deadline_s / SECONDS_PER_HOUR:g}"
        yield f"within {hours} h", plan_queue(rows, images, deadline_s, power_w, idle)
        return
    if idle == "deadline":
        raise UsageError("idling until the deadline needs a deadline")
    cheapest = plan_queue(rows, images, None, power_w, idle)
    fastest = plan_queue(rows, images, None, power_w, idle, "time")
    yield "least energy", cheapest
    if fastest.time_s < cheapest.time_s * (1 - ALIKE):
        half_way_s = math.sqrt(fastest.time_s * cheapest.time_s)
        hours = f"{half_way_s / SECONDS_PER_HOUR:.3g}"
        yield f"within {hours} h", plan_queue(rows, images, half_way_s, power_w, idle)
        yield "least time", fastest


def totals(plan: QueuePlan, tariff: Tariff) -> Iterator[str]:
    """What a plan comes to, a sentence each."""
    images = with_half_width(plan.images_j / JOULES_PER_KWH, plan.half_width_j / JOULES_PER_KWH)
    yield (
        f"{plan.energy_j / JOULES_PER_KWH:.4g} kWh in {plan.time_s / SECONDS_PER_HOUR:.3g} h: "
        f"images {images} kWh, idle cards {_kwh(plan.idle_j)} kWh"
    )
    yield f"at most {plan.peak_w:.0f} W at once, of the cards alone"
    for unit, value in tariff.costs(plan.energy_j).items():
        yield f"{value:.4g} {unit}"
    if plan.gap:
        yield f"the solver ran out of time: the least energy may be {plan.gap:.1%} lower"
    together = sorted({share.row.gpu for share in plan.shares if share.row.together})
    if together:
        yield f"measured together with other cards, so not alone: {', '.join(together)}"


def _kwh(energy_j: float) -> str:
    kwh = energy_j / JOULES_PER_KWH
    return "< 0.001" if 0 < kwh < LEAST_KWH else f"{kwh:.4g}"


def _edge_nodes(page: Page) -> Iterator[Block]:
    yield {"kind": "text", "text": page.t(EDGE_NODES.source.replace("*", ""))}
    for section in EDGE_NODES.make(page.shown):
        rows = tuple((page.t(row[0]), *row[1:]) for row in section.table.rows)
        yield table_block(page, section.title, Table(section.table.headings, rows))
        items = [page.t(sentence) for sentence in section.sentences]
        if items:
            yield {"kind": "items", "title": "", "items": items}
