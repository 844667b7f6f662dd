"""``wattbench verify``: whether bundles are what was made, and their numbers follow."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..sharing.bundle import Bundle

MOST_FAULTS = 20


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "verify",
        help="check bundles of others",
        description="Check that a bundle was not changed, who has signed it, and that its numbers "
        "follow from its raw samples. Exit code 0 where all is well, 1 where something is not.",
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="FILE")
    parser.add_argument(
        "--signers",
        type=Path,
        metavar="ALLOWED",
        help="a file of allowed signers, as OpenSSH has it; with --identity",
    )
    parser.add_argument("--identity", default="", metavar="NAME", help="who must have signed it")
    parser.add_argument("--fingerprint", default="", metavar="HEX", help="which it must have")


def run(args: argparse.Namespace) -> int:
    if (args.signers is None) != (not args.identity):
        raise UsageError("--signers and --identity go together: a file of keys, and whose to take")
    if args.fingerprint and len(args.bundles) > 1:
        raise UsageError("--fingerprint is that of one bundle: name one")
    failed = [path for path in args.bundles if not _verify(path, args)]
    return int(bool(failed))


def _verify(path: Path, args: argparse.Namespace) -> bool:
    """Print what was found of a bundle; whether all is well."""
    from ..sharing.bundle import BundleError, read_bundle
    from ..sharing.signing import SignatureError
    from ..sharing.verify import verify

    try:
        bundle = read_bundle(path)
        signer = signer_of(bundle, args.signers, args.identity)
    except (BundleError, SignatureError) as error:
        print(f"{path}: {error}")
        return False
    verdict = verify(bundle.runs)
    print(f"{path}: {verdict.run_count} runs, {len(bundle.pictures)} pictures")
    print(f"  fingerprint {bundle.fingerprint}")
    print(f"  signed by {signer}" if signer else "  not signed")
    print(f"  {verdict.recomputed} of {verdict.energy_count} energies computed anew from samples")
    for fault in verdict.faults[:MOST_FAULTS]:
        print(f"  {fault}")
    if len(verdict.faults) > MOST_FAULTS:
        print(f"  and {len(verdict.faults) - MOST_FAULTS} more")
    is_expected = bundle.fingerprint.startswith(args.fingerprint.lower())
    if not is_expected:
        print(f"  its fingerprint is not {args.fingerprint}")
    return is_expected and not verdict.faults


def signer_of(bundle: Bundle, signers: Path | None = None, identity: str = "") -> str:
    """The key that has signed a bundle, blank where none has.

    Raises:
        SignatureError: the signature does not hold, or is missing where somebody must have signed.
    """
    from ..sharing import signing

    if not bundle.signature:
        if identity:
            raise signing.SignatureError(f"it is not signed, and {identity} should have signed it")
        return ""
    key = signing.signer_of(bundle.content, bundle.signature, signers, identity)
    return f"{identity}, {key}" if identity else key
