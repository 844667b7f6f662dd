"""``wattbench law plan`` and ``law breakeven``: what settings, caps and new cards cost or save."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .law_card import add_run_arguments, assume, card, condition, count, settings_line, warn
from .run import pue

if TYPE_CHECKING:
    from ..law import Card
    from ..law.breakeven import Range
    from ..law.planning import Candidate, Option
    from ..law.race_to_idle import CapPoint
    from ..records import Condition, Prediction

Rows = list[tuple[str, ...]]

OPTION_HEADINGS = ("Setting", "Choice", "J/img", "Low", "High", "Times the base", "Note")
FRONT_HEADINGS = ("Size", "Steps", "J/img", "Low", "High", "Quality", "Worth it")


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "plan",
        help="what resolution, steps, precision, guidance and batch cost",
        description="Vary one setting of a run at a time and predict its energy; which sizes and "
        "step counts are worth their quality; whether a power cap pays.",
    )
    add_run_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write plan.md, .csv and .svg")
    parser.add_argument(
        "--quality",
        type=Path,
        metavar="CSV",
        help="columns width_px, height_px, steps, quality (more is better): adds the front",
    )
    parser.add_argument(
        "--idle-power", type=float, metavar="W", help="of the card: adds power caps and idling"
    )
    caps = parser.add_mutually_exclusive_group()
    caps.add_argument(
        "--power-caps", type=Path, metavar="CSV", help="a runs.csv of one condition under caps"
    )
    caps.add_argument(
        "--workload",
        default="sdxl-illustrious",
        help="of the published RTX 3090, where there are no runs (or z-image-turbo)",
    )
    parser.add_argument(
        "--grid",
        type=Path,
        metavar="CSV",
        help="columns site, hour, g_per_kwh (and price_per_kwh, pue): where and when the images of "
        "--images cost least carbon",
    )
    parser.add_argument(
        "--images", type=count, default=1000, metavar="N", help="for --grid (default: 1000)"
    )
    _register_breakeven(actions)


def _register_breakeven(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    parser = actions.add_parser(
        "breakeven", help="when a new card has saved the carbon of making it"
    )
    for option, text in (
        ("--embodied-kg", "kg CO2e of making the new card"),
        ("--old-j", "J per image of the card in use"),
        ("--new-j", "J per image of the new card"),
    ):
        parser.add_argument(
            option,
            type=float,
            nargs="+",
            required=True,
            metavar="X",
            help=f"{text}: a value, or a value with its low and high end",
        )
    parser.add_argument(
        "--disposal-kg",
        type=float,
        nargs="+",
        default=[0.0],
        metavar="X",
        help="kg CO2e of disposing of the new card one day (default: 0)",
    )
    parser.add_argument(
        "--pue", type=pue, default=1.0, metavar="X", help="of the building: 1 or more"
    )
    parser.add_argument("--images-per-day", type=float, required=True, metavar="N")
    parser.add_argument("--grid-g-per-kwh", type=float, required=True, metavar="G")


def plan(args: argparse.Namespace) -> int:
    from ..law import planning
    from ..tables.markdown import table_lines

    assumed = assume(args)
    cards, base = card(args), condition(args)
    found = planning.options(base, cards)
    rows = _option_rows(found)
    parts = [
        f"# What an image costs on {cards.gpu}",
        f"Base: {base.name}, {base.weight_format}. One setting is changed at a time. Energies "
        "are per image, with their 90% interval.",
        settings_line(args, assumed),
        "\n".join(table_lines(OPTION_HEADINGS, rows)),
    ]
    if args.quality is not None:
        worth = planning.front(base, cards, args.quality)
        front = table_lines(FRONT_HEADINGS, _front_rows(worth))
        parts += ["## Energy and quality", "\n".join(front)]
    if args.idle_power is not None:
        parts += ["## Power caps and idling", *_caps(args)]
    if args.grid is not None:
        parts += ["## Where and when", *_where_and_when(args, base, cards)]
    text = "\n\n".join(parts) + "\n"
    print(text, end="")
    if args.out is not None:
        _write(args.out, text, rows, found)
    return 0


def _where_and_when(args: argparse.Namespace, base: Condition, cards: Card) -> list[str]:
    """The table of sites, and what it rests on."""
    from ..law import LawDataError, forecast_run
    from ..law.grid import choose, read_hours
    from ..tables.decimals import in_figures
    from ..tables.markdown import table_lines

    made = forecast_run(base, args.steps, cards)
    energy, time = made.energy_per_img, made.duration_per_img
    if energy is None:
        raise LawDataError("; ".join(made.notes))
    duration_s = None if time is None else time.value
    sites = choose(read_hours(args.grid), energy, args.images, duration_s)
    rows: Rows = [
        (
            site.best.site,
            site.best.start
            if site.best.start == site.best.end
            else f"{site.best.start} to {site.best.end}",
            *(in_figures(grams, 4) for grams in site.best.grams),
            "" if site.best.price is None else in_figures(site.best.price, 4),
            f"{in_figures(site.worst.grams[0], 4)} ({site.worst.start})",
            in_figures(site.mean_grams, 4),
        )
        for site in sites
    ]
    headings = ("Site", "Best hours", "g CO2e", "Low", "High", "Price", "Worst", "Average")
    fits = "They are taken to fit into an hour: how long an image takes is not known."
    lasts = "" if duration_s is None else f"They take {args.images * duration_s / 3600:.3g} hours."
    return [
        f"Of {args.images} images, on this card at each site: the device's energy times the site's "
        f"PUE. {lasts or fits} Moving data and idling are not in it, and a grid's average is not "
        "what one more watt emits.",
        "\n".join(table_lines(headings, rows)),
    ]


def _option_rows(found: Sequence[Option]) -> Rows:
    rows: Rows = []
    for option in found:
        energy, ratio = option.energy, option.ratio
        numbers = (
            ("", "", "", "")
            if energy is None or ratio is None
            else (*_ends(energy), f"{ratio:.3g}")
        )
        rows.append((option.setting, option.choice, *numbers, option.note))
    return rows


def _front_rows(found: Sequence[Candidate]) -> Rows:
    return [
        (
            f"{one.condition.width_px}x{one.condition.height_px}",
            str(one.condition.steps),
            *_ends(one.energy),
            f"{one.quality:g}",
            "yes" if one.on_front else "no: another is cheaper and as good",
        )
        for one in found
    ]


def _ends(energy: Prediction) -> list[str]:
    from ..tables.decimals import in_figures

    return [in_figures(joules, 4) for joules in (energy.value, energy.low, energy.high)]


def _caps(args: argparse.Namespace) -> list[str]:
    """The table of caps and idle shares, and what decides."""
    from ..law import LawDataError, read_table
    from ..law import race_to_idle as power_cap
    from ..law.data import EDGE_NODES_CSV
    from ..tables.markdown import table_lines

    if not 0 <= args.idle_power < math.inf:
        raise LawDataError(f"--idle-power must be 0 W or more, got {args.idle_power:g}")
    points = (
        power_cap.points_of_study(args.workload, EDGE_NODES_CSV)
        if args.power_caps is None
        else power_cap.points_of_runs(read_table(args.power_caps))
    )
    headings = ("Cap", "W", "s/img", "J/img busy", "From")
    shares = [f"J/img, fastest idle {share:.0%}" for share in power_cap.IDLE_SHARES]
    rows = [_cap_row(p, points, args.idle_power) for p in points]
    table = "\n".join(table_lines((*headings, *shares), rows))
    lines = [
        f"Joules of an image with the waiting until the next, at {args.idle_power:g} W idle. "
        "Assumed: idle power is the same under every cap, and sleeping and waking cost nothing."
    ]
    fast = min(points, key=lambda point: point.time_s)
    for point in points:
        if point.time_s > fast.time_s:
            lines.append(
                _verdict(fast.label, point.label, *power_cap.idle_power_that_pays(fast, point))
            )
    if args.power_caps is None:
        lines.append(
            "These are the published RTX 3090's figures, not this card's; seconds are of denoising "
            "only. Give your own with --power-caps."
        )
    return [table, *lines]


def _verdict(fast: str, slow: str, pays_w: float, half_w: float) -> str:
    if pays_w + (0.0 if math.isnan(half_w) else half_w) < 0:
        return f"{slow} is cheaper than {fast} at any idle power."
    spread = "" if math.isnan(half_w) else f" ± {half_w:.2g}"
    return (
        f"{slow} is cheaper than {fast} where idling takes more than {pays_w:.3g}{spread} W, "
        "whatever the idle share; with less, run fast and then idle."
    )


def _cap_row(point: CapPoint, points: Sequence[CapPoint], idle_power_w: float) -> tuple[str, ...]:
    from ..law.race_to_idle import IDLE_SHARES, energy_with_idle, period
    from ..tables.decimals import in_figures, with_half_width

    busy = with_half_width(point.energy.value, point.energy.half_width)
    cells = []
    for share in IDLE_SHARES:
        joules = energy_with_idle(point, period(points, share), idle_power_w)
        cells.append("too slow" if joules is None else in_figures(joules, 4))
    return (point.label, f"{point.power_w:.3g}", f"{point.time_s:.3g}", busy, point.source, *cells)


def _write(folder: Path, text: str, rows: Rows, found: Sequence[Option]) -> None:
    from ..law.plots import write_plan
    from ..tables.csv import csv_text
    from ..tables.figure import PlotsUnavailableError
    from ..tables.files import write_text

    write_text(text, folder / "plan.md")
    write_text(csv_text([OPTION_HEADINGS, *rows]), folder / "plan.csv")
    try:
        write_plan(found, folder / "plan.svg")
    except PlotsUnavailableError as error:
        warn((f"{error}; the tables are written without them",))


def breakeven(args: argparse.Namespace) -> int:
    from ..law.breakeven import break_even

    result = break_even(
        _range("--embodied-kg", args.embodied_kg).plus(_range("--disposal-kg", args.disposal_kg)),
        args.images_per_day,
        _range("--old-j", args.old_j),
        _range("--new-j", args.new_j),
        args.grid_g_per_kwh * args.pue,
    )
    print(f"{result.saved_g_per_day:.4g} g CO2e saved a day.")
    ends = f"at best {_days(result.soonest)}, at worst {_days(result.latest)}"
    print(
        f"Replacing never pays ({ends})."
        if result.days is None
        else f"Replacing pays after {_days(result.days)} ({ends})."
    )
    print(
        f"Assumed: {args.images_per_day:g} images a day and {args.grid_g_per_kwh:g} g CO2e per kWh "
        "stay as they are; both cards idle alike; the old card's making is spent, and it is "
        f"disposed of in either case; energy is the cards' only, times a PUE of {args.pue:g}. Best "
        "and worst take all ranges at their ends."
    )
    return 0


def _days(days: float | None) -> str:
    return "never" if days is None else f"{days:,.0f} days ({days / 365.25:.1f} years)"


def _range(name: str, values: Sequence[float]) -> Range:
    from ..law import LawDataError
    from ..law.breakeven import Range

    if len(values) not in (1, 3):
        raise LawDataError(f"{name} takes a value, or a value with its low and high end")
    return Range(values[0], values[-2] if len(values) == 3 else values[0], values[-1])
