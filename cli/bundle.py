"""``wattbench bundle``: a folder of results as one file for others."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import CommandError, UsageError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "bundle",
        help="pack results into one file that others can check",
        description="Write the runs of a folder, with their raw samples, into one file. Host, "
        "user, paths, addresses, serial numbers and texts of prompts are not in it. Prints its "
        "fingerprint.",
    )
    parser.add_argument("source", type=Path, metavar="DIR", help="a folder of results or a journal")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="as results.zip")
    parser.add_argument(
        "--pictures", action="store_true", help="with the pictures, without what their files say"
    )
    parser.add_argument(
        "--sign", type=Path, metavar="KEY", help="sign it with this private key of OpenSSH"
    )


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from ..incoming import IncomingError
    from ..measure.recording.environment import pack_version
    from ..sharing.bundle import Bundle, BundleError
    from ..sharing.merge import MergeError, runs_of
    from ..sharing.signing import SignatureError, sign

    if args.out.is_dir():
        raise UsageError(f"{args.out} is a folder: name the file, as {args.out / 'results.zip'}")
    folder = args.source if args.source.is_dir() else args.source.parent
    try:
        runs = runs_of(args.source)
        bundle = Bundle.of(runs, folder if args.pictures else None, pack_version())
        if args.sign is not None:
            bundle = replace(bundle, signature=sign(bundle.content, args.sign))
        written = bundle.write(args.out)
    except (BundleError, IncomingError, MergeError, SignatureError) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{args.out} cannot be written: {error}") from error
    pictures = f" and {len(bundle.pictures)} pictures" if args.pictures else ""
    print(f"wrote {written}: {len(bundle.runs)} runs{pictures}")
    print(f"fingerprint {bundle.fingerprint}")
    return 0
