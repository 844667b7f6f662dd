"""``wattbench law validate``: a law fitted to some rows of a table, tested on others."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .law_card import warn

if TYPE_CHECKING:
    from ..law.validation import Agreement, Validation

HEADINGS = ("Rows", "n", "R²", "MAE, J", "MAPE", "Pearson", "Spearman", "90% interval holds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Beside the table's: what to train and test on, by which law, and where it goes."""
    for name, text in (
        ("--train", "rows to fit to, for example model=qwen model=sd3.5"),
        ("--test", "rows to predict; default: the rest, or without --train each model in turn"),
    ):
        parser.add_argument(
            name,
            nargs="+",
            action="extend",
            default=[],
            metavar="COLUMN=VALUE",
            help=f"{text}; several values of one column are alternatives",
        )
    parser.add_argument(
        "--law",
        choices=("equation3", "operators", "calibration"),
        default="equation3",
        help="the published equation, the operator law, or the latter from the A100's as a prior",
    )
    parser.add_argument("--convention", choices=("paper", "exact"), default="exact")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write validation.md, .csv and .svg"
    )


def validate(args: argparse.Namespace) -> int:
    from ..law import read_table
    from ..law.validation import validate as run
    from ..tables.markdown import table_lines

    made = run(
        read_table(args.table, tuple(args.where)),
        args.train,
        args.test,
        law=args.law,
        convention=args.convention,
        energy=args.energy,
        allow_unmeasured=args.allow_unmeasured,
    )
    warn(made.notes)
    found = made.agreements()
    table = table_lines(HEADINGS, [(name, *_cells(one)) for name, one in found.items()])
    text = "\n".join([*table, "", "R² and Pearson are of log energies."]) + "\n"
    if args.json:
        print(json.dumps({name: asdict(one) for name, one in found.items()}, indent=2))
    else:
        print(text, end="")
    if args.out is not None:
        _write(args.out, text, made)
    return 0


def _cells(one: Agreement) -> tuple[str, ...]:
    def plain(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    return (
        str(one.n),
        plain(one.r2),
        f"{one.mae_j:,.4g}" if one.mae_j < 1000 else f"{one.mae_j:,.0f}",
        f"{one.mape:.1%}",
        plain(one.pearson),
        plain(one.spearman),
        f"{one.coverage:.0%}",
    )


def _write(folder: Path, text: str, made: Validation) -> None:
    from ..law.plots import write_validation
    from ..tables.figure import PlotsUnavailableError
    from ..tables.files import write_text

    notes = "".join(f"\n- {note}" for note in made.notes)
    write_text(
        f"# Predicted and measured\n\n{text}{notes and notes + chr(10)}", folder / "validation.md"
    )
    write_text(made.rows.to_csv(index=False, lineterminator="\n"), folder / "validation.csv")
    try:
        write_validation(made.rows, folder / "validation.svg")
    except PlotsUnavailableError as error:
        warn((f"{error}; the tables are written without them",))
