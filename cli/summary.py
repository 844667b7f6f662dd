"""``wattbench summary``: the table of a runs.csv, or of a journal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CommandError, UsageError

if TYPE_CHECKING:
    import pandas as pd


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "summary",
        help="print the table of a runs.csv or a journal",
        description="Print the summary of a runs.csv. A journal (journal.jsonl) does too: so runs "
        "that were measured before a crash or a cancellation become tables.",
    )
    parser.add_argument("runs", type=Path, metavar="RUNS", help="a runs.csv or a journal.jsonl")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="also write runs.csv, summary.csv and report.md"
    )


def run(args: argparse.Namespace) -> int:
    from ..measure.report import as_text, table_of, write_frame

    frame = read(args.runs)
    print(as_text(table_of(frame)))
    if args.out is not None:
        try:
            paths = write_frame(frame, args.out)
        except OSError as error:
            raise CommandError(f"cannot write into {args.out}: {error}") from error
        print("\n".join(f"wrote {path}" for path in paths))
    return 0


def read(path: Path) -> pd.DataFrame:
    """The runs of a CSV table or, by its ending, of a journal.

    Raises:
        UsageError: the file cannot be read or holds no runs.
    """
    from ..measure.journal import parse
    from ..measure.report import read_runs, runs_frame

    try:
        if path.suffix == ".jsonl":
            return runs_frame(parse(path.read_text(encoding="utf-8")))
        return read_runs(path)
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
