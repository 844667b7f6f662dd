"""``wattbench run``: measure a workflow without a browser, and write the tables."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..processes.signals import held
from .terminal import Terminal

if TYPE_CHECKING:
    from ..hosts.remote.batch import Batch

LAST_PORT = 65535


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "run",
        help="measure a workflow without a browser",
        description="Run a workflow (UI or API format) through comfy-cli, on a server of its own "
        "or a running one, and write runs.csv, summary.csv, report.md and the pictures. "
        "Arguments after -- go to ComfyUI.",
    )
    where = add_batch_options(parser)
    where.add_argument(
        "--server", type=host_and_port, metavar="HOST:PORT", help="a running ComfyUI with the pack"
    )
    where.add_argument(
        "--forge",
        type=host_and_port,
        metavar="HOST:PORT",
        help="a running Forge with the pack, started with --api: WORKFLOW is then a plan, as of "
        "`wattbench matrix`, whose workflows are bodies of txt2img requests",
    )
    add_pue(parser)
    parser.add_argument(
        "--estimate-if-unmetered",
        action="store_true",
        help="where no meter covers the device, set WATTBENCH_METER=estimate, unless it is set",
    )


def add_pue(parser: argparse.ArgumentParser) -> None:
    """``--pue``, which goes into the column of that name and into ``energy_total_j``."""
    parser.add_argument(
        "--pue",
        type=pue,
        metavar="X",
        help="power usage effectiveness of the building, 1 or more: energy_total_j, and nothing "
        "else, is multiplied by it",
    )


def pue(text: str) -> float:
    """A power usage effectiveness, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no power usage effectiveness: 1 or more")
    return value


def add_batch_options(
    parser: argparse.ArgumentParser,
) -> argparse._MutuallyExclusiveGroup:
    """What every command that runs a batch asks for; returns the group that names the server."""
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW", help="a workflow's JSON file")
    parser.add_argument(
        "--repeats",
        type=positive,
        metavar="N",
        help="measured images for each visit; without it the workflow runs once as it is",
    )
    parser.add_argument(
        "--visits",
        type=positive,
        default=1,
        metavar="M",
        help="fresh server processes to measure in (default: 1). Repeats in one process share its "
        "state; visits are independent",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="for the results; they are added to the tables there",
    )
    where = add_server_options(parser)
    add_timeout(parser)
    parser.set_defaults(server=None, estimate_if_unmetered=False)
    return where


def add_server_options(
    parser: argparse.ArgumentParser,
) -> argparse._MutuallyExclusiveGroup:
    """What every command that starts a ComfyUI asks for; returns the group that names it."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--comfyui", type=Path, metavar="PATH", help="ComfyUI's folder")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(passes_on=True)
    return where


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """``--timeout``, for commands that wait for prompts to end."""
    parser.add_argument(
        "--timeout",
        type=positive,
        default=1800,
        metavar="S",
        help="longest silence of the server in seconds (default: 1800)",
    )


def positive(text: str) -> int:
    """An integer of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def host_and_port(text: str) -> tuple[str, int]:
    """``HOST:PORT``, for argparse."""
    host, _, number = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, for example 127.0.0.1:8188")
    return host, port(number)


def port(text: str) -> int:
    """The number of a port, for argparse."""
    if not text.isdecimal() or not 1 <= int(text) <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to {LAST_PORT}")
    return int(text)


def planned(args: argparse.Namespace) -> Batch:
    """The batch that the options of :func:`add_batch_options` ask for.

    Raises:
        UsageError: with what is wrong and what to do.
    """
    from ..hosts.remote.batch import Batch

    return Batch.plan(
        args.workflow,
        args.out,
        repeats=args.repeats,
        visits=args.visits,
        timeout_s=args.timeout,
        server=args.server,
        comfyui=args.comfyui,
        device=args.device,
        arguments=args.comfyui_arguments,
        estimate_if_unmetered=args.estimate_if_unmetered,
        teller=Terminal(),
    )


def run(args: argparse.Namespace) -> int:
    """Measure; whatever was measured is written, also after a failure or Ctrl-C."""
    if args.forge:
        return _in_forge(args)
    from ..errors import CommandError
    from ..hosts.remote.batch import NOTHING_MEASURED, Results
    from ..report import reserved

    batch, results = planned(args), Results()
    files: list[str] = []

    @held()
    def keep() -> None:
        if results.runs:
            results.runs = [replace(run, pue=args.pue) for run in results.runs]
            files[:] = results.write(args.out)

    with reserved(args.out):
        try:
            batch.measure(results, keep)
        finally:
            if files:
                print(results.told(files))
    if not results.runs:
        raise CommandError(NOTHING_MEASURED)
    return 0


def _in_forge(args: argparse.Namespace) -> int:
    """Carry a plan out in a running Forge, as ``wattbench matrix --forge`` does.

    Raises:
        UsageError: it is no plan, or something is asked for that a plan has.
    """
    from ..errors import UsageError
    from . import matrix

    if args.workflow.suffix != ".toml":
        raise UsageError(
            f"with --forge {args.workflow} must be a plan (TOML) that names a request's JSON file; "
            "docs/forge.md has one to copy"
        )
    if args.repeats is not None or args.visits != 1 or args.pue is not None:
        raise UsageError("with --forge the plan says all: leave out --repeats, --visits and --pue")
    parser = argparse.ArgumentParser()
    matrix.add_options(parser)
    defaults = vars(parser.parse_args(["--out", str(args.out)]))
    asked = {**defaults, **vars(args), "plan": str(args.workflow)}
    return matrix.run(argparse.Namespace(**asked))
