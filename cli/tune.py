"""``wattbench tune``: what to set on this machine so that a workflow's images cost less."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CommandError, UsageError
from ..incoming import MAX_WORKFLOW_BYTES, IncomingError, read_json
from .matrix import add_forge, forge_rig
from .run import add_server_options, add_timeout, host_and_port, positive

if TYPE_CHECKING:
    from ..study.levels import Levels
    from ..study.pictures import PictureLimits
    from ..study.rig import Bench, Rig
    from ..study.search import Verdict
    from ..study.tune import Progress, Tuning

BUDGET_MIN = 30.0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "tune",
        help="find the settings with which a workflow's images cost less",
        description="Take a workflow as you use it, measure it as it is, try attention kernels, "
        "weight formats, compilation and launch options, and write the workflow with the winning "
        "nodes in it, or say that nothing is proven to be better. Arguments after -- go to every "
        "ComfyUI that is started.",
    )
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW", help="a workflow's JSON file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the results")
    parser.add_argument(
        "--objective",
        choices=("j_per_img", "s_per_img", "peak_vram"),
        default="s_per_img",
        help="what is to become smaller (default: s_per_img)",
    )
    parser.add_argument(
        "--levers",
        nargs="+",
        default=[],
        metavar="LEVER[=LEVEL,...]",
        help="what to try: attention, weights=fp8, launch=--fast ... (default: all that this "
        "machine can run)",
    )
    _add_limits(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print the rule and what would be tried, then end"
    )
    parser.add_argument(
        "--json", action="store_true", help="tell events as JSON, a line each, for programs"
    )
    where = add_server_options(parser)
    where.add_argument(
        "--server",
        type=host_and_port,
        metavar="HOST:PORT",
        help="a running ComfyUI with the pack: one visit, without launch options",
    )
    add_forge(where)
    add_timeout(parser)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """How long a search may take, and what pictures must keep."""
    parser.add_argument(
        "--budget",
        type=minutes,
        default=BUDGET_MIN,
        metavar="MIN",
        help=f"minutes that the search may take (default: {BUDGET_MIN:g})",
    )
    parser.add_argument(
        "--repeats",
        type=positive,
        default=2,
        metavar="N",
        help="images that count each time a candidate has its turn (default: 2)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order (default: 0)")
    parser.add_argument("--min-psnr", type=float, metavar="DB", help="floor for the pictures")
    parser.add_argument("--min-ssim", type=float, metavar="X", help="floor for the pictures")
    parser.add_argument(
        "--max-lpips", type=float, metavar="X", help="for the pictures, measured with --lpips-model"
    )
    parser.add_argument(
        "--lpips-model", type=Path, metavar="FOLDER", help="with the network's weights"
    )


def minutes(text: str) -> float:
    """Minutes above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes")
    return value


def limits_of(args: argparse.Namespace) -> PictureLimits:
    """What pictures must keep.

    Raises:
        UsageError: one of ``--max-lpips`` and ``--lpips-model`` without the other, or no weights
            there.
    """
    from ..quality.lpips import load_lpips
    from ..study.pictures import PictureLimits

    if (args.max_lpips is None) != (args.lpips_model is None):
        raise UsageError("--max-lpips X needs --lpips-model FOLDER, and the other way round")
    if args.lpips_model is None:
        return PictureLimits(args.min_psnr, args.min_ssim)
    try:
        network = load_lpips(args.lpips_model)
    except (OSError, ValueError) as error:
        raise UsageError(f"--lpips-model {args.lpips_model}: {error}") from error
    return PictureLimits(args.min_psnr, args.min_ssim, args.max_lpips, network.value)


def run(args: argparse.Namespace) -> int:
    """Search; whatever was measured is written, also after a failure or Ctrl-C."""
    from ..hosts.remote.batch import prepare_folder
    from ..hosts.remote.comfy_run import check_installed
    from ..report import check_unused
    from ..study.levels import choose, parse_levers
    from ..study.search import Rule

    if not args.forge:
        check_installed()
    workflow = read_workflow(args.workflow)
    asked = parse_levers(args.levers)
    limits = limits_of(args)
    prepare_folder(args.out)
    if not args.dry_run:
        check_unused(args.out)
    rig = rig_of(args)
    with rig.open((), "levers") as bench:
        is_running = bool(args.server or args.forge)
        levels = choose(bench.levers(), asked, args.objective, own_servers=not is_running)
        check_workflow(bench, workflow)
    if args.json:
        told = [vars(one) for one in (*levels.levers, *levels.left_out)]
        tell({"event": "levers", "rule": Rule().describe(), "levers": told})
    else:
        print(Rule().describe())
        print(listed(levels))
    if args.dry_run:
        return 0
    if not levels.levers:
        raise CommandError("there is nothing to try on this machine; see above why")
    return search(args, workflow, rig, levels, limits)


def rig_of(args: argparse.Namespace) -> Rig:
    """Servers of our own, or the one that runs already.

    Raises:
        UsageError: it cannot be, with what to do.
    """
    from ..hosts.remote.batch import check_no_server_options, needs_estimate
    from ..hosts.remote.client import ComfyClient
    from ..hosts.remote.server import device_arguments, find_comfyui
    from ..study.rig import RunningRig, ServerRig

    if args.forge:
        return forge_rig(args, args.timeout)
    if args.server:
        check_no_server_options(1, args.device == "auto" and not args.comfyui_arguments)
        return RunningRig(ComfyClient(*args.server), args.out, args.timeout)
    comfyui = find_comfyui(args.comfyui)
    device = device_arguments(args.device)
    if args.objective == "j_per_img" and needs_estimate(on_cpu="--cpu" in device):
        raise UsageError(
            "no meter covers this device, so joules cannot be made smaller: choose "
            "--objective s_per_img, or set WATTBENCH_METER=estimate to opt into an estimate"
        )
    arguments = (*device, *args.comfyui_arguments)
    say = (lambda text: None) if args.json else in_place
    return ServerRig(comfyui, arguments, {}, args.out, args.timeout, say=say)


def search(
    args: argparse.Namespace,
    workflow: dict[str, Any],
    rig: Rig,
    levels: Levels,
    limits: PictureLimits,
) -> int:
    """Carry the search out and write what it found."""
    from ..study.outcome import TUNED, write_outcome
    from ..study.pictures import Gallery
    from ..study.search import Rule, Search
    from ..study.tune import Tuning

    tuning = Tuning(
        workflow,
        rig,
        Search(levels.levers, Rule(), args.seed),
        args.objective,
        args.repeats,
        args.budget * 60,
        Gallery(limits),
        levels.needs,
        tell=lambda progress: tell(event_of(progress, tuning)) if args.json else show(progress),
    )
    verdict: Verdict | None = None
    try:
        verdict = tuning.run()
    finally:
        if tuning.visits:
            outcome = write_outcome(tuning, levels, args.out)
            if args.json:
                found = {"verdict": outcome.splitlines()[0], "candidates": standing(tuning)}
                tell({"event": "end", **found, "tuned": (args.out / TUNED).is_file()})
            else:
                print(f"\n{outcome}")
    return 0 if verdict else 1


def event_of(progress: Progress, tuning: Tuning) -> dict[str, Any]:
    """What happens now, with how all candidates stand."""
    from ..study.tune import name_of

    last = progress.last
    return {
        "event": "image",
        "stage": progress.stage.value,
        "block": progress.block + 1,
        "candidate": name_of(progress.settings),
        "image": progress.prompt + 1,
        "of": progress.prompt_count,
        "elapsed_s": progress.elapsed_s,
        "budget_s": progress.budget_s,
        "time_s": None if last is None else last.time_s,
        "energy_j": None if last is None else last.energy_j,
        "candidates": standing(tuning),
    }


def standing(tuning: Tuning) -> list[dict[str, Any]]:
    """Every candidate that was measured: its ratio with the interval, and why it is out."""
    from ..study.outcome import candidates_frame, candidates_of

    rows = candidates_frame(candidates_of(tuning)).to_dict("records")
    return [{str(name): None if v != v else v for name, v in row.items()} for row in rows]


def tell(event: dict[str, Any]) -> None:
    """An event for programs."""
    print(json.dumps(event, ensure_ascii=False), flush=True)


def read_workflow(path: Path) -> dict[str, Any]:
    """A workflow's JSON.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        data = read_json(path, MAX_WORKFLOW_BYTES)
    except IncomingError as error:
        raise UsageError(f"{error}; save it once more") from error
    if not isinstance(data, dict) or not data:
        raise UsageError(f"{path} holds no workflow; save it once more")
    return data


def check_workflow(bench: Bench, workflow: dict[str, Any]) -> None:
    """Raise UsageError where the workflow cannot be measured, before anything is."""
    from ..study.search import BASELINE

    try:
        bench.watched(bench.graph_with(workflow, None, BASELINE))
    except ValueError as error:
        raise UsageError(str(error)) from error


def listed(levels: Levels) -> str:
    """What is tried, and what is not and why."""
    lines = [f"tried: {lever.name} = {', '.join(lever.levels)}" for lever in levels.levers]
    lines += [f"not tried: {one.lever} = {one.level}: {one.reason}" for one in levels.left_out]
    return "\n".join(lines)


def show(progress: Progress) -> None:
    """One line for each prompt."""
    from ..study.tune import name_of

    left_min = max(0.0, progress.budget_s - progress.elapsed_s) / 60
    last = progress.last
    seen = f", {last.time_s:.2f} s" if last is not None and last.time_s is not None else ""
    joules = f", {last.energy_j:.0f} J" if last is not None and last.energy_j is not None else ""
    in_place(
        f"{progress.stage.value} {progress.block + 1}: {name_of(progress.settings)}, image "
        f"{progress.prompt + 1}/{progress.prompt_count}{seen}{joules}, {left_min:.0f} min left"
    )


def in_place(text: str) -> None:
    """A line; on a terminal it takes the place of the one before."""
    is_terminal = sys.stdout.isatty()
    print(f"\r\x1b[K{text}" if is_terminal else text, end="" if is_terminal else "\n", flush=True)
