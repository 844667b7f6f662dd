"""``wattbench fleet plan``: who makes a queue of images with the least energy."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CommandError, UsageError
from .run import pue

if TYPE_CHECKING:
    from ..fleet.queue import QueuePlan
    from ..fleet.sections import Question
    from ..law.cost import Tariff

HEADINGS = ("Card", "Work", "Setting", "Images", "Hours", "kWh")


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "plan",
        help="who makes the next images: least energy under a deadline and a power budget",
        description="Of cards that were measured: which makes how many images of a queue, in which "
        "setting, so that the energy is least. Energies are of the cards alone.",
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="of results")
    parser.add_argument(
        "--images",
        type=amount,
        action="append",
        required=True,
        metavar="[WORK=]N",
        help="how many; WORK is part of a work's name where several were measured",
    )
    add_question(parser)


def add_question(parser: argparse._ActionsContainer) -> None:
    """By when a queue is to be made, with how much power, and what that costs."""
    parser.add_argument("--deadline", type=positive_number, metavar="H", help="in hours")
    parser.add_argument(
        "--power", type=positive_number, metavar="W", help="what all cards may draw at once"
    )
    parser.add_argument(
        "--idle",
        choices=("queue", "deadline", "off"),
        default="queue",
        help="until when cards without work stay on: the queue's end (default), the deadline, or "
        "they are off",
    )
    parser.add_argument("--price", type=positive_number, metavar="P", help="of a kWh")
    parser.add_argument("--currency", default="EUR", metavar="WORD")
    parser.add_argument("--grid", type=positive_number, metavar="G", help="g CO2e of a kWh")
    parser.add_argument("--pue", type=pue, default=1.0, metavar="X", help="of the building")


def amount(text: str) -> tuple[str, int]:
    """``[WORK=]N``, for argparse."""
    work, _, number = text.rpartition("=")
    if not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} names no number of images")
    return work, int(number)


def positive_number(text: str) -> float:
    """A number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Print the plan; 1 where no assignment does what was asked."""
    from ..fleet.queue import NoPlanError, plan_queue, usable
    from ..fleet.rows import rows_of
    from ..fleet.sections import totals
    from ..incoming import IncomingError
    from ..law.cost import SECONDS_PER_HOUR
    from ..sharing.bundle import BundleError
    from ..sharing.merge import MergeError
    from ..tables.markdown import table_lines

    try:
        rows, left_out = usable(list(rows_of(args.folders)))
        tariff = tariff_of(args)
    except (BundleError, IncomingError, MergeError, ValueError) as error:
        raise UsageError(str(error)) from error
    images = named(args.images, dict.fromkeys(row.work for row in rows))
    deadline_s = None if args.deadline is None else args.deadline * SECONDS_PER_HOUR
    try:
        plan = plan_queue(rows, images, deadline_s, args.power, args.idle)
    except NoPlanError as error:
        raise CommandError(str(error)) from error
    print("\n".join(table_lines(HEADINGS, shares(plan))))
    print()
    for text in (*totals(plan, tariff), *(f"left out: {why}" for why in left_out)):
        print(f"- {text}")
    return 0


def tariff_of(args: argparse.Namespace) -> Tariff:
    """What a kWh costs, as :func:`add_question` was told.

    Raises:
        ValueError: a currency that is no short word.
    """
    from ..law.cost import Tariff

    return Tariff(args.grid, args.price, args.currency, pue=args.pue)


def question_of(args: argparse.Namespace) -> Question:
    """What a page answers for each work.

    Raises:
        UsageError: a currency that is no short word.
    """
    from ..fleet.sections import Question
    from ..law.cost import SECONDS_PER_HOUR

    try:
        tariff = tariff_of(args)
    except ValueError as error:
        raise UsageError(str(error)) from error
    deadline_s = None if args.deadline is None else args.deadline * SECONDS_PER_HOUR
    return Question(args.images, deadline_s, args.power, args.idle, tariff)


def named(asked: Sequence[tuple[str, int]], works: Iterable[str]) -> Mapping[str, int]:
    """The images of each work.

    Raises:
        UsageError: a name means none or several of the measured works.
    """
    known = list(works)
    found: dict[str, int] = {}
    for name, number in asked:
        meant = [work for work in known if name.lower() in work.lower()]
        exact = [work for work in meant if work == name]
        if len(exact or meant) != 1:
            raise UsageError(
                f"{name or 'no name'!r} means {len(meant)} of the measured works: "
                f"{'; '.join(known) or 'there are none'}. Name one as WORK=N"
            )
        work = (exact or meant)[0]
        found[work] = found.get(work, 0) + number
    return found


def shares(plan: QueuePlan) -> Iterable[tuple[str, ...]]:
    """The rows of the plan's table."""
    from ..law.cost import JOULES_PER_KWH, SECONDS_PER_HOUR

    for share in plan.shares:
        row = share.row
        hours, kwh = share.time_s / SECONDS_PER_HOUR, share.energy_j / JOULES_PER_KWH
        card = f"{row.gpu} ({row.card})"
        yield card, row.work, row.setting, str(share.images), f"{hours:.3g}", f"{kwh:.4g}"
