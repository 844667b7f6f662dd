"""Where and when images cost least carbon, from a table of hours that the user has.

The table is the user's own: grids and tariffs change by place and hour, and none are shipped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ..records import Prediction
from .cost import emissions_g, price
from .data import LawDataError, read_table

COLUMNS = ("site", "hour", "g_per_kwh")
MOST_HOURS = 100_000


@dataclass(frozen=True)
class Hour:
    """An hour of a site. ``pue`` is what the site draws for each watt of its machines."""

    site: str
    hour: str
    g_per_kwh: float
    price_per_kwh: float | None
    pue: float


@dataclass(frozen=True)
class Window:
    """Hours in a row on a site, and what the images take there; the hours share them evenly.

    ``grams`` are of CO2e, with the ends of the energy's interval.
    """

    site: str
    start: str
    end: str
    grams: tuple[float, float, float]
    price: float | None


@dataclass(frozen=True)
class Site:
    """The best and the worst window of a site, and what a window takes on average."""

    best: Window
    worst: Window
    mean_grams: float


def read_hours(path: Path) -> tuple[Hour, ...]:
    """A CSV with :data:`COLUMNS`, and if need be ``price_per_kwh`` and ``pue`` (1 where blank).

    The rows of a site are hours that follow each other, in their order.

    Raises:
        LawDataError: no such table, or a value that cannot be; its row is named.
    """
    table = read_table(path)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise LawDataError(f"{path.name} lacks the columns {', '.join(missing)}")
    if len(table) > MOST_HOURS:
        raise LawDataError(f"{path.name} has more than {MOST_HOURS:,} rows")
    return tuple(_hour(row, n) for n, row in enumerate(table.to_dict("records"), 2))


def choose(
    hours: Sequence[Hour], energy: Prediction, images: int, duration_s: float | None
) -> tuple[Site, ...]:
    """The sites, that with the least grams in its best hours first.

    Args:
        hours: of all sites.
        energy: of one image.
        images: how many are to be made.
        duration_s: of one image; ``None``, not known: all are taken to fit into an hour.

    Raises:
        LawDataError: no site has as many hours as the images take.
    """
    needed = 1 if duration_s is None else max(1, math.ceil(images * duration_s / 3600))
    ordered = sorted(hours, key=lambda hour: hour.site)
    by_site = [list(group) for _, group in groupby(ordered, key=lambda hour: hour.site)]
    sites = []
    for own in by_site:
        windows = [
            _window(own[first : first + needed], energy, images)
            for first in range(len(own) - needed + 1)
        ]
        if windows:
            ranked = sorted(windows, key=lambda window: window.grams[0])
            mean = sum(window.grams[0] for window in windows) / len(windows)
            sites.append(Site(ranked[0], ranked[-1], mean))
    if not sites:
        raise LawDataError(
            f"the images take {needed} hours, and no site of the table has as many in a row"
        )
    return tuple(sorted(sites, key=lambda site: site.best.grams[0]))


def _window(hours: Sequence[Hour], energy: Prediction, images: int) -> Window:
    share = images / len(hours)

    def grams(joules: float) -> float:
        return sum(share * emissions_g(joules * hour.pue, hour.g_per_kwh) for hour in hours)

    prices = [
        price(share * energy.value * hour.pue, hour.price_per_kwh)
        for hour in hours
        if hour.price_per_kwh is not None
    ]
    return Window(
        hours[0].site,
        hours[0].hour,
        hours[-1].hour,
        (grams(energy.value), grams(energy.low), grams(energy.high)),
        sum(prices) if len(prices) == len(hours) else None,
    )


def _hour(row: Mapping[Any, Any], line: int) -> Hour:
    site, hour = (str(row[name]).strip() for name in COLUMNS[:2])
    if _is_blank(row["site"]) or _is_blank(row["hour"]):
        raise LawDataError(f"line {line} of the grid has no site or no hour")
    cost = row.get("price_per_kwh")
    return Hour(
        site,
        hour,
        _number(row["g_per_kwh"], "g_per_kwh", line, 0),
        None if _is_blank(cost) else _number(cost, "price_per_kwh", line, 0),
        1.0 if _is_blank(row.get("pue")) else _number(row["pue"], "pue", line, 1),
    )


def _is_blank(cell: Any) -> bool:
    return cell is None or cell != cell or str(cell).strip() == ""


def _number(value: Any, name: str, line: int, least: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not least <= number < math.inf:
        raise LawDataError(f"line {line} of the grid: {name} must be a number of at least {least}")
    return number
