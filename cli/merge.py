"""``wattbench merge``: folders and bundles as one folder of results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import CommandError, UsageError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "merge",
        help="put results of several machines into one folder",
        description="Put the runs of several folders, journals and bundles into one folder, each "
        "run once. Merging the same again changes nothing. Runs of different machines are never "
        "pooled.",
    )
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="SOURCE", help="a folder, journal or bundle"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")


def run(args: argparse.Namespace) -> int:
    from ..incoming import IncomingError
    from ..report.export import RAW_FILE, append_runs
    from ..sharing.bundle import BundleError
    from ..sharing.merge import MergeError, merged, source_of

    there = [args.out] if (args.out / RAW_FILE).is_file() else []
    try:
        sources = [source_of(path) for path in [*there, *args.sources]]
        runs = merged(sources)
    except (BundleError, IncomingError, MergeError) as error:
        raise UsageError(str(error)) from error
    for source in sources:
        for remark in source.remarks:
            print(remark, file=sys.stderr)
    known = {run.run_id for source in sources[: len(there)] for run in source.runs}
    try:
        paths = append_runs(runs, args.out) if len(runs) > len(known) else []
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot write into {args.out}: {error}") from error
    print(f"{len(runs)} runs, {len(runs) - len(known)} of them new in {args.out}")
    print("\n".join(f"wrote {path}" for path in paths), end="\n" if paths else "")
    return 0
