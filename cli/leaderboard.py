"""``wattbench leaderboard``: bundles of many cards as one page."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import CommandError, UsageError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "leaderboard",
        help="show bundles of many cards on one page",
        description="Write a page that needs nothing but itself, with a row for each condition of "
        "each bundle, by what was computed. Needs Jinja2 and matplotlib.",
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument(
        "--out", type=Path, default=Path("leaderboard.html"), metavar="FILE", help="(%(default)s)"
    )
    parser.add_argument("--language", choices=("en", "pt-BR"), default="en", help="(en)")


def run(args: argparse.Namespace) -> int:
    from ..report.html import PageUnavailableError
    from ..report.leaderboard import as_leaderboard
    from ..sharing.board import Signed, board
    from ..sharing.bundle import BundleError, read_bundle
    from ..sharing.signing import SignatureError
    from ..tables.files import write_text
    from .verify import signer_of

    try:
        signed = []
        for path in args.bundles:
            bundle = read_bundle(path)
            signed.append(Signed(bundle, signer_of(bundle)))
        page = as_leaderboard(board(signed), args.language)
        written = write_text(page, args.out)
    except (BundleError, SignatureError) as error:
        raise UsageError(str(error)) from error
    except PageUnavailableError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{args.out} cannot be written: {error}") from error
    print(f"wrote {written}")
    return 0
