"""``wattbench compare``: folders of results beside each other."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import CommandError, UsageError
from .report import analysis_of


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "compare",
        help="set results beside each other: before and after, two cards, two releases",
        description="Put the conditions of several folders beside each other, with ratios to the "
        "first: paired where both were measured together, else of the means. Runs of two folders "
        "are never pooled.",
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="two or more: folders of results, runs.csv or journal.jsonl",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="also write compare.csv and compare.md"
    )


def run(args: argparse.Namespace) -> int:
    from ..report.side_by_side import side_by_side_frame, side_by_side_table
    from ..tables.csv import write_frame
    from ..tables.files import write_text
    from ..tables.markdown import of_table
    from ..tables.text import as_text, terminal_width

    if len(args.folders) < 2:
        raise UsageError("one folder is nothing to compare: name two or more")
    names = names_of(args.folders)
    analyses = [analysis_of([path]) for path in args.folders]
    table = side_by_side_table(analyses, names)
    if not table.rows:
        raise CommandError("no run of these folders counts, so there is nothing to compare")
    print(as_text(table, terminal_width()))
    if args.out is not None:
        lines = ["# WattBench: results beside each other", "", *of_table(table), ""]
        lines += [f"- {note}" for note in table.notes]
        try:
            args.out.mkdir(parents=True, exist_ok=True)
            paths = [
                write_frame(side_by_side_frame(analyses, names), args.out / "compare.csv"),
                write_text("\n".join(lines) + "\n", args.out / "compare.md"),
            ]
        except OSError as error:
            raise CommandError(f"cannot write into {args.out}: {error}") from error
        print("\n".join(f"wrote {path}" for path in paths))
    return 0


def names_of(paths: list[Path]) -> list[str]:
    """A short name for each folder; equal ones get as much of their path as tells them apart.

    Raises:
        UsageError: a folder is named twice.
    """
    whole = [(path if path.is_dir() else path.parent).resolve() for path in paths]
    tables = {(path / "runs.csv" if path.is_dir() else path).resolve() for path in paths}
    if len(tables) < len(paths):
        raise UsageError("a folder is named twice: there is nothing to compare in it")
    for count in range(1, max(len(path.parts) for path in whole) + 1):
        names = ["/".join(path.parts[-count:]) for path in whole]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
