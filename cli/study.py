"""``wattbench study``: a published experiment on this machine, beside what was published."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError
from . import matrix

STUDIES = ("edge-nodes", "quantization", "energy-law")
PAGE = "study.md"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "study",
        help="repeat a published experiment here, beside its figures",
        description="Carry out the plan of a published experiment (see `wattbench matrix`), and "
        f"write {PAGE}: its tables with your own rows, and how alike the runs are. Goes on with "
        "--resume. With --from nothing is measured: the page is made of runs that you have.",
    )
    parser.add_argument("study", choices=STUDIES, metavar="STUDY", help=", ".join(STUDIES))
    parser.add_argument(
        "--tiny", action="store_true", help="the tiny form of its plan, which any CPU can run"
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="a runs.csv, or a folder with one, instead of measuring",
    )
    matrix.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, unless there are runs; then write the page. The matrix's code is the exit code."""
    if args.source is not None:
        if args.tiny or args.dry_run or args.resume:
            raise UsageError("--from measures nothing: leave --tiny, --dry-run and --resume out")
        _write(args, args.source)
        return 0
    args.plan = ("tiny/" if args.tiny else "") + args.study.replace("-", "_")
    code = matrix.run(args)
    if not args.dry_run:
        _write(args, args.out)
    return code


def _write(args: argparse.Namespace, source: Path) -> None:
    from ..analysis.analysis import Analysis
    from ..report import read_runs
    from ..study.published import PAGES

    table = source / "runs.csv" if source.is_dir() else source
    try:
        frame = read_runs(table)
    except (ValueError, OSError) as error:
        raise UsageError(f"{table} cannot be read: {error}") from error
    args.out.mkdir(parents=True, exist_ok=True)
    for path in PAGES[args.study].write(Analysis(frame), args.out / PAGE):
        print(path)
