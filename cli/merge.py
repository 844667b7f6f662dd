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
    from ..sharing.bundle import BundleError
    from ..sharing.merge import MergeError, merge

    try:
        found = merge(args.sources, args.out, lambda text: print(text, file=sys.stderr))
    except (BundleError, IncomingError, MergeError) as error:
        raise UsageError(str(error)) from error
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot write into {args.out}: {error}") from error
    print(f"{found.run_count} runs, {found.new_count} of them new in {args.out}")
    print("\n".join(f"wrote {path}" for path in found.paths), end="\n" if found.paths else "")
    return 0
