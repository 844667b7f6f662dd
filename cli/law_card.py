"""The arguments that ``law predict`` and ``law plan`` share: a run, a card, a tariff."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .run import pue

if TYPE_CHECKING:
    from ..law import Card
    from ..law.cost import Tariff
    from ..records import Condition

CONFIDENCE = 0.9


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The run and the card; :func:`condition` and :func:`card` read them."""
    parser.add_argument("--architecture", required=True, metavar="NAME")
    parser.add_argument("--width", type=count, metavar="PX", help="(default: 1024)")
    parser.add_argument("--height", type=count, metavar="PX", help="(default: 1024)")
    parser.add_argument("--steps", type=count, required=True, metavar="N")
    parser.add_argument(
        "--cfg", type=amount, help="guidance scale, 1: none (default: the architecture's usual one)"
    )
    parser.add_argument("--sampler", help="ComfyUI's name (default: euler)")
    parser.add_argument("--batch-size", type=count, metavar="N", help="(default: 1)")
    parser.add_argument("--dtype", help="fp16 (default), bf16, fp32, or a weight format")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--gpu", help="a card with published data (default: A100)")
    choice.add_argument("--calibration", type=Path, metavar="FILE", help="from law calibrate --out")


def add_tariff_arguments(parser: argparse.ArgumentParser) -> None:
    """What a kWh and an hour cost; :func:`tariff` reads it."""
    parser.add_argument(
        "--grid-g-per-kwh", type=float, metavar="G", help="g CO2e per kWh of your electricity"
    )
    parser.add_argument("--price-per-kwh", type=float, metavar="PRICE")
    parser.add_argument(
        "--price-per-hour",
        type=float,
        metavar="PRICE",
        help="of the machine, rented or written off: time costs too, where the card's laws know it",
    )
    parser.add_argument(
        "--pue",
        type=pue,
        default=1.0,
        metavar="X",
        help="power usage effectiveness of the building: carbon and money of energy are times it",
    )
    parser.add_argument("--currency", default="EUR", help="of the price (default: EUR)")


def assume(args: argparse.Namespace) -> tuple[str, ...]:
    """Fill in what was not given; answers the names of those settings."""
    from ..law.flop import ALIASES, DEFAULT_CFG

    architecture = ALIASES.get(args.architecture, args.architecture)
    defaults = {
        "width": 1024,
        "height": 1024,
        "cfg": DEFAULT_CFG.get(architecture, 1.0),
        "sampler": "euler",
        "batch_size": 1,
        "dtype": "fp16",
        "text_tokens": 12,
    }
    if args.calibration is None:
        defaults["gpu"] = "A100"
    assumed = tuple(name for name in defaults if getattr(args, name, None) is None)
    for name in assumed:
        setattr(args, name, defaults[name])
    return assumed


def settings_line(args: argparse.Namespace, assumed: Sequence[str]) -> str:
    """Every setting of the run, with those that :func:`assume` filled in called so."""
    values = {
        "architecture": args.architecture,
        "width": f"{args.width} px wide",
        "height": f"{args.height} px high",
        "steps": f"{args.steps} steps",
        "cfg": f"CFG {args.cfg:g}",
        "sampler": args.sampler,
        "batch_size": f"batch of {args.batch_size}",
        "dtype": args.dtype,
        "text_tokens": f"{args.text_tokens} text tokens",
    }
    if args.gpu is not None:
        values["gpu"] = args.gpu
    parts = [f"{text} (assumed)" if name in assumed else text for name, text in values.items()]
    return f"Of {', '.join(parts)}."


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
    """What a kWh and an hour cost.

    Raises:
        ValueError: a value that cannot be.
    """
    from ..law.cost import Tariff

    return Tariff(
        args.grid_g_per_kwh, args.price_per_kwh, args.currency, args.price_per_hour, args.pue
    )


def warn(notes: Sequence[str]) -> None:
    """Print notes to standard error, which leaves the output to programs."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


MOST = 10**9
"""Of anything that a run is counted in: steps, images, pixels of a side."""


def count(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    if value > MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MOST}")
    return value


def amount(text: str) -> float:
    """An argument that is a finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def tokens(text: str) -> int:
    """An argument that is a whole number of at least 0."""
    return 0 if text == "0" else count(text)


def fraction(text: str) -> float:
    """An argument between 0 and 1, both excluded."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value
