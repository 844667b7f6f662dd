"""``wattbench summary``: the table of a runs.csv, or of a journal."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CommandError, UsageError
from ..incoming import MAX_TABLE_BYTES, IncomingError, check_file, open_file
from .run import add_pue

MAX_SHOWN = 10
"""Lines of a journal that are named; `wattbench journal check` names all."""

if TYPE_CHECKING:
    import pandas as pd

    from ..records import Run


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "summary",
        help="print the table of a runs.csv or a journal",
        description="Print the summary of a runs.csv. A journal (journal.jsonl) does too: so runs "
        "that were measured before a crash or a cancellation become tables.",
    )
    parser.add_argument(
        "runs", type=Path, metavar="RUNS", help="a runs.csv, its folder, or a journal.jsonl"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="also add the runs to the runs.csv, summary.csv and report.md there",
    )
    add_pue(parser)


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Records form none, and looking for some among millions takes longer than decoding them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@no_search_for_cycles()
def run(args: argparse.Namespace) -> int:
    from ..analysis.analysis import Analysis
    from ..report import analysis_text, append_runs, write_table
    from ..tables.text import terminal_width

    path = args.runs / "runs.csv" if args.runs.is_dir() else args.runs
    is_journal = path.suffix == ".jsonl"
    if is_journal:
        runs = read_journal(path)
        if args.pue is not None:
            runs = [replace(run, pue=args.pue) for run in runs]
        analysis = Analysis.of(runs)
    elif args.pue is not None:
        raise UsageError("--pue is for a journal: a runs.csv has been multiplied by its own")
    else:
        analysis = Analysis(read_table(path))
    print(analysis_text(analysis, terminal_width()))
    if args.out is not None:
        try:
            if is_journal:
                paths = append_runs(analysis.runs, args.out)
            else:
                paths = write_table(analysis, args.out)
        except ValueError as error:
            raise UsageError(str(error)) from error
        except OSError as error:
            raise CommandError(f"cannot write into {args.out}: {error}") from error
        print("\n".join(f"wrote {path}" for path in paths))
    return 0


def read_journal(path: Path) -> list[Run]:
    """The runs of a journal; what of it is left out goes to the error output, with its reason.

    Raises:
        UsageError: the file cannot be read, or nothing in it.
    """
    from ..measure.protocol.journal import MAX_JOURNAL_BYTES, read_from

    try:
        with open_file(path, MAX_JOURNAL_BYTES) as file:
            contents = read_from(file)
    except IncomingError as error:
        raise UsageError(str(error)) from error
    lines = [f"line {line} is left out: {reason}" for line, reason in contents.left_out]
    if lines and not contents.runs:
        raise UsageError(f"{path} holds no run that can be read: {lines[0]}")
    if len(lines) > MAX_SHOWN:
        more = len(lines) - MAX_SHOWN
        lines[MAX_SHOWN:] = [f"{more} more; `wattbench journal check {path}` names all"]
    for line in lines:
        print(f"{path.name}: {line}", file=sys.stderr)
    return list(contents.runs)


def read_table(path: Path) -> pd.DataFrame:
    """The runs of a ``runs.csv``.

    Raises:
        UsageError: the file cannot be read or is no such table.
    """
    from ..report import read_runs

    try:
        return read_runs(check_file(path, MAX_TABLE_BYTES))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except IncomingError as error:
        raise UsageError(str(error)) from error
    except ValueError as error:
        raise UsageError(f"{error}. Name a runs.csv, its folder, or a journal.jsonl") from error
