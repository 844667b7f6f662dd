"""The arguments that ``law predict`` and ``law plan`` share: a run, a card, a tariff."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..law import Card
    from ..law.cost import Tariff
    from ..records import Condition

CONFIDENCE = 0.9


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The run and the card; :func:`condition` and :func:`card` read them."""
    parser.add_argument("--architecture", required=True, metavar="NAME")
    parser.add_argument("--width", type=int, default=1024, metavar="PX")
    parser.add_argument("--height", type=int, default=1024, metavar="PX")
    parser.add_argument("--steps", type=int, required=True, metavar="N")
    parser.add_argument("--cfg", type=float, default=1.0, help="guidance scale (default: 1, none)")
    parser.add_argument("--sampler", default="euler", help="ComfyUI's name (default: euler)")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N")
    parser.add_argument("--dtype", default="fp16", help="fp16, bf16, fp32, or a weight format")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--gpu", default="A100", help="a card with published data (default: A100)")
    choice.add_argument("--calibration", type=Path, metavar="FILE", help="from law calibrate --out")


def add_tariff_arguments(parser: argparse.ArgumentParser) -> None:
    """What a kWh costs; :func:`tariff` reads it."""
    parser.add_argument(
        "--grid-g-per-kwh", type=float, metavar="G", help="g CO2e per kWh of your electricity"
    )
    parser.add_argument("--price-per-kwh", type=float, metavar="PRICE")
    parser.add_argument("--currency", default="EUR", help="of the price (default: EUR)")


def condition(args: argparse.Namespace) -> Condition:
    """The run of the arguments."""
    from ..records import Condition

    return Condition(
        architecture=args.architecture,
        model=args.architecture,
        weights="",
        attention="",
        weight_format=args.dtype,
        width_px=args.width,
        height_px=args.height,
        batch_size=args.batch_size,
        steps=args.steps,
        cfg=args.cfg,
        sampler=args.sampler,
        scheduler="",
    )


def card(args: argparse.Namespace) -> Card:
    """The card of the arguments; what its data lack goes to standard error.

    Raises:
        LawDataError: no such card or file.
    """
    from ..law import Card, card_named, load

    if args.calibration is not None:
        laws = load(args.calibration)
        return Card(laws["J"].domain.gpu, laws, ())
    found = card_named(args.gpu)
    warn(found.notes)
    return found


def tariff(args: argparse.Namespace) -> Tariff:
    """What a kWh costs.

    Raises:
        ValueError: a value that cannot be.
    """
    from ..law.cost import Tariff

    return Tariff(args.grid_g_per_kwh, args.price_per_kwh, args.currency)


def warn(notes: Sequence[str]) -> None:
    """Print notes to standard error, which leaves the output to programs."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def fraction(text: str) -> float:
    """An argument between 0 and 1, both excluded."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value
