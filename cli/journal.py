"""``wattbench journal check``: what of a journal can be read, and what not."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError
from ..incoming import IncomingError, read_file
from ..measure.protocol.journal import MAX_JOURNAL_BYTES


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "journal",
        help="check a journal for damage",
        description="Read a journal line by line, and say what cannot be read and why. Nothing is "
        "changed.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="name each line that is damaged",
        description="Exit code 0 where every line is whole, 1 where something was left out.",
    )
    check.add_argument("file", type=Path, metavar="FILE", help="a journal.jsonl or a nodes.csv")


def run(args: argparse.Namespace) -> int:
    """Print each line that is left out, and what the rest holds: 0 where nothing was left out."""
    try:
        data = read_file(args.file, MAX_JOURNAL_BYTES)
    except IncomingError as error:
        raise UsageError(str(error)) from error
    if args.file.suffix == ".csv":
        return check_table(data, args.file)
    from ..measure.protocol.journal import read

    contents = read(data)
    for line, reason in contents.left_out:
        print(f"line {line} is left out: {reason}")
    for line, note in contents.notes:
        print(f"line {line}: {note}")
    failed = sum(bool(run.error) for run in contents.runs)
    print(
        f"{len(contents.runs)} runs ({failed} of them failed) in {contents.line_count} lines, "
        f"{len(contents.left_out)} left out"
    )
    return int(bool(contents.left_out))


def check_table(data: bytes, path: Path) -> int:
    """As :func:`run`, of a ``nodes.csv``."""
    from ..report.nodes import broken_lines

    try:
        whole, broken = broken_lines(data)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    for line, reason in broken:
        print(f"line {line} is broken: {reason}")
    print(f"{whole} rows, {len(broken)} broken lines")
    return int(bool(broken))
