"""``wattbench matrix``: carry a plan out, visit by visit, and go on where it was left."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CommandError, UsageError
from ..incoming import MAX_WORKFLOW_BYTES, IncomingError, read_text
from ..processes.environment import LOOPBACK
from .matrix_progress import Progress
from .run import add_server_options, host_and_port, positive

if TYPE_CHECKING:
    from ..study.cells import Ready
    from ..study.forge_rig import ForgeRig
    from ..study.plan import Plan
    from ..study.rig import ServerRig
    from ..study.visits import Visits

PACK = Path(__file__).parents[1]
PLANS, WORKFLOWS = PACK / "plans", PACK / "workflows"
SERVER_START_S = 15.0
"""What a start of ComfyUI is thought to take, for the hours that are told beforehand."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "matrix",
        help="measure all cells of a plan: kernels, formats, sizes, models",
        description="Carry a plan (TOML) out in mirrored random blocks, each visit on a ComfyUI of "
        "its own. Every visit is on the disk before the next begins, so --resume goes on after "
        "Ctrl-C, a crash or a restart. Arguments after -- go to every ComfyUI that is started.",
    )
    parser.add_argument(
        "plan", metavar="PLAN", help="a TOML file, or a shipped plan by its name: attention"
    )
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What carrying a plan out asks for, besides the plan."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the results")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="list every cell, the runs and the hours, and what cannot run here and why; then end",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with what --out holds, or begin"
    )
    parser.add_argument(
        "--json", action="store_true", help="tell events as JSON, a line each, for programs"
    )
    parser.add_argument(
        "--workload",
        action="append",
        default=[],
        metavar="NAME",
        help="measure only this workload of the plan; may be given more than once",
    )
    parser.add_argument(
        "--last-block", type=positive, metavar="N", help="begin no block after number N this time"
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="CARD",
        help="another card of this machine that measures at the same time: noted in every run",
    )
    add_forge(add_server_options(parser))
    parser.add_argument(
        "--estimate-if-unmetered",
        action="store_true",
        help="where no meter covers the device, set WATTBENCH_METER=estimate, unless it is set",
    )
    parser.add_argument(
        "--gpu", default="auto", metavar="NAME", help="the board of a power_cap_w axis: nvml:0"
    )
    parser.add_argument(
        "--sudo",
        action="store_true",
        help="set the power limit through sudo: type `sudo -v` before",
    )


def add_forge(where: argparse._MutuallyExclusiveGroup) -> None:
    """``--forge``, instead of a ComfyUI."""
    where.add_argument(
        "--forge",
        type=host_and_port,
        metavar="HOST:PORT",
        help="a running Forge with the pack, started with --api, instead of ComfyUI; "
        "workflows are then bodies of its txt2img or img2img requests",
    )


def run(args: argparse.Namespace) -> int:
    """Carry the plan out; what is measured is written, also after a failure or Ctrl-C."""
    from ..hosts.remote.batch import prepare_folder
    from ..report import reserved
    from ..study.plan import read_plan

    plan = read_plan(find_plan(args.plan), WORKFLOWS).only(args.workload)
    progress = Progress(is_json=args.json)
    rig = _rig_of_plan(args, plan, progress)
    prepare_folder(args.out)
    with reserved(args.out), power_limit(args, plan) as (set_cap, cap_refused):
        return carry_out(args, plan, rig, progress, set_cap, cap_refused)


def forge_rig(args: argparse.Namespace, deadline_s: float) -> ForgeRig:
    """The Forge that runs at ``--forge``.

    Raises:
        UsageError: something is asked for that a program that runs already cannot be given.
    """
    from ..hosts.remote.forge import ForgeClient
    from ..study.forge_rig import ForgeRig

    if args.comfyui_arguments:
        raise UsageError("a Forge that runs already keeps its launch options: leave those after --")
    if getattr(args, "estimate_if_unmetered", False) or args.device != "auto":
        raise UsageError(
            "a Forge that runs already has its device and its meter, which its settings name: "
            "leave --device and --estimate-if-unmetered"
        )
    host, number = args.forge
    return ForgeRig(ForgeClient(host, number, deadline_s), args.out.resolve())


def _rig_of_plan(args: argparse.Namespace, plan: Plan, progress: Progress) -> ServerRig | ForgeRig:
    if not args.forge:
        return _comfyui_rig(args, plan, progress)
    host, _ = args.forge
    if "power_cap_w" in plan.axes and host not in LOOPBACK:
        raise UsageError(
            f"power_cap_w sets the limit of a board of this machine, and Forge runs at {host}: "
            "carry the plan out there"
        )
    return forge_rig(args, plan.protocol.deadline_s)


def _comfyui_rig(args: argparse.Namespace, plan: Plan, progress: Progress) -> ServerRig:
    """Servers of our own."""
    from ..hosts.remote.batch import needs_estimate
    from ..hosts.remote.comfy_run import check_installed
    from ..hosts.remote.server import device_arguments, find_comfyui
    from ..study.rig import ServerRig

    check_installed()
    comfyui = find_comfyui(args.comfyui)
    device = device_arguments(args.device)
    environment = {}
    if args.estimate_if_unmetered and needs_estimate(on_cpu="--cpu" in device):
        environment["WATTBENCH_METER"] = "estimate"
    return ServerRig(
        comfyui,
        (*device, *args.comfyui_arguments),
        environment,
        args.out.resolve(),
        max(1, round(plan.protocol.deadline_s)),
        progress.follow,
        prompt_limit_s=plan.protocol.deadline_s,
        say=progress.say,
    )


def carry_out(
    args: argparse.Namespace,
    plan: Plan,
    rig: ServerRig | ForgeRig,
    progress: Progress,
    set_cap: Callable[[int | None], None],
    cap_refused: Callable[[int], str],
) -> int:
    """What :func:`run` does once everything is at hand: 0 where every planned cell was measured."""
    from ..study.cells import ready
    from ..study.matrix import TRIES, Matrix
    from ..study.matrix_results import write_results
    from ..study.visits import JOURNAL

    journal = journal_of(args)
    for tries_left in reversed(range(TRIES)):
        try:
            with rig.open((), "levers") as bench:
                found = ready(plan, bench, cap_refused)
                environment = bench.environment()
            break
        except CommandError:
            # The server died, by something that may be none of ours.
            if not tries_left:
                raise
    progress.plan(plan, found, SERVER_START_S)
    if args.dry_run:
        return 0
    if not found.cells:
        raise CommandError("no cell of this plan can run here; see above why")
    begin(journal, plan, found, environment, rig.arguments)
    matrix = Matrix(
        plan,
        found,
        rig,
        journal,
        str(journal.header["study"]),
        set_cap,
        progress.tell,
        last_block=args.last_block,
        remarks=beside(args.beside),
    )
    is_over: bool | None = None
    try:
        is_over = matrix.run()
    finally:
        if journal.made:
            try:
                progress.end(write_results(matrix, args.out), is_over)
            except OSError as error:
                raise CommandError(
                    f"the tables cannot be written to {args.out}: {error}. What was measured is "
                    f"in {JOURNAL}: make room, then go on with --resume"
                ) from error
    failed = [visit for visit in journal.made if visit.error]
    return int(bool(failed))


def beside(cards: Sequence[str]) -> tuple[str, ...]:
    """The remark on runs that were made while other cards of the machine measured."""
    if not cards:
        return ()
    return (f"measured together with {', '.join(cards)}: they share power, heat and host",)


def journal_of(args: argparse.Namespace) -> Visits:
    """The journal in the folder of results, which may be begun or gone on with.

    Raises:
        UsageError: it may not: something is lost otherwise.
    """
    from ..report import check_unused
    from ..study.visits import JOURNAL, read_visits

    journal = read_visits(args.out / JOURNAL)
    if not (journal.header or args.dry_run):
        check_unused(args.out)
    if journal.header and not (args.resume or args.dry_run):
        raise UsageError(
            f"{args.out} holds a matrix already: go on with it by --resume, or name another folder"
        )
    return journal


def find_plan(name: str) -> Path:
    """A plan's file: by its path, or a shipped one by its name.

    Raises:
        UsageError: there is none.
    """
    from ..study.plan import nearest

    shipped = {
        path.relative_to(PLANS).with_suffix("").as_posix(): path for path in PLANS.rglob("*.toml")
    }
    if name in shipped and not Path(name).is_file():
        return shipped[name]
    if not Path(name).is_file():
        raise UsageError(f"there is no plan {name}{nearest(name, sorted(shipped))}")
    return Path(name)


def begin(
    journal: Visits,
    plan: Plan,
    found: Ready,
    environment: dict[str, Any],
    arguments: tuple[str, ...],
) -> None:
    """Write the journal's head, or see that it is of the same plan on the same machine.

    Raises:
        UsageError: what was measured before was measured otherwise.
    """
    import uuid

    from ..records import short_hash
    from ..study.matrix import check_environment

    try:
        texts = {one.name: read_text(one.workflow, MAX_WORKFLOW_BYTES) for one in plan.workloads}
    except IncomingError as error:
        raise UsageError(str(error)) from error
    planned = {
        **asdict(plan),
        "workloads": {name: short_hash(text) for name, text in texts.items()},
        "cells": [cell.name for cell in found.cells],
        "arguments": list(arguments),
    }
    # Who measures a plan is no part of what it measures.
    del planned["fleet"]
    planned = json.loads(json.dumps(planned))
    if not journal.header:
        study = f"{plan.name} {uuid.uuid4().hex[:12]}"
        journal.begin({"study": study, "plan": planned, "environment": environment})
        return
    before = journal.header["plan"]
    changed = [
        f"{key} was {before.get(key)!r} and is {planned.get(key)!r}"
        for key in dict.fromkeys((*before, *planned))
        if before.get(key) != planned.get(key)
    ]
    if changed:
        raise UsageError(
            f"this is not the plan that {journal.path} was begun with: {'; '.join(changed)}. Put "
            "it back as it was, or begin anew in another folder"
        )
    check_environment(journal.header["environment"], environment)


@contextlib.contextmanager
def power_limit(
    args: argparse.Namespace, plan: Plan
) -> Iterator[tuple[Callable[[int | None], None], Callable[[int], str]]]:
    """What sets the board's limit, and what says why not; it is restored in the end."""
    from ..measure.power_limit.guarded import SUDO, GuardedLimit

    if "power_cap_w" not in plan.axes:
        yield lambda cap_w: None, lambda cap_w: ""
        return
    with contextlib.ExitStack() as stack:
        limit = GuardedLimit(args.gpu, SUDO if args.sudo else ())
        try:
            stack.enter_context(limit)
        except CommandError as error:
            reason = str(error)
            yield lambda cap_w: None, lambda cap_w: reason
            return
        board = limit.board

        def set_cap(cap_w: int | None) -> None:
            limit.set_w(board.former_w if cap_w is None else cap_w)

        def refused(cap_w: int) -> str:
            low, high = board.allowed.minimum_w, board.allowed.maximum_w
            inside = low <= cap_w <= high
            return "" if inside else f"{board.name} takes caps from {low:g} to {high:g} W"

        yield set_cap, refused
