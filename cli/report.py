"""``wattbench report``: folders of results as one page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CommandError, UsageError
from .fleet_queue import add_question, question_of
from .run import positive
from .summary import no_search_for_cycles, read_journal, read_table

if TYPE_CHECKING:
    from ..analysis.analysis import Analysis


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "report",
        help="write results as one page for a browser",
        description="Write a page that needs nothing but itself: verdict, pictures, charts, what "
        "ran, how it was measured, and the tables. Hosts, users, paths, addresses and serial "
        "numbers are not in it. Needs Jinja2 and matplotlib.",
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="a folder of results, its runs.csv, or a journal.jsonl; of several, the baseline is "
        "of the first if conditions are equally plain",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("report.html"), metavar="FILE", help="(report.html)"
    )
    parser.add_argument(
        "--language", choices=("en", "pt-BR"), default="en", help="of the page (en)"
    )
    parser.add_argument(
        "--with-prompts",
        action="store_true",
        help="show the texts of prompts that the pictures' files hold",
    )

    several = parser.add_argument_group("where the runs are of several cards: who makes the next")
    several.add_argument(
        "--images", type=positive, default=10_000, metavar="N", help="of each work (10000)"
    )
    add_question(several)


def run(args: argparse.Namespace) -> int:
    from ..fleet.sections import sections_on_cards
    from ..report.html import PageUnavailableError, as_html
    from ..tables.files import write_text

    if args.out.is_dir():
        raise UsageError(f"{args.out} is a folder: name the file, as {args.out / 'report.html'}")
    folders = [path if path.is_dir() else path.parent for path in args.folders]
    try:
        analysis = analysis_of(args.folders)
        added = sections_on_cards(analysis, question_of(args))
        page = as_html(
            analysis, folders, args.language, with_prompts=args.with_prompts, added=added
        )
        written = write_text(page, args.out)
    except PageUnavailableError as error:
        raise CommandError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{args.out} cannot be written: {error}") from error
    print(f"wrote {written}")
    return 0


@no_search_for_cycles()
def analysis_of(paths: list[Path]) -> Analysis:
    """Of the runs of all paths, each run once.

    Raises:
        UsageError: one of them cannot be read.
    """
    from ..analysis.analysis import Analysis
    from ..analysis.runs_table import runs_frame, typed

    frames = []
    for path in paths:
        table = path / "runs.csv" if path.is_dir() else path
        is_journal = table.suffix == ".jsonl"
        frames.append(runs_frame(read_journal(table)) if is_journal else read_table(table))
    if len(frames) == 1:
        return Analysis(frames[0])
    import pandas as pd

    both = pd.concat(frames, ignore_index=True).drop_duplicates("run_id", ignore_index=True)
    return Analysis(typed(both))
