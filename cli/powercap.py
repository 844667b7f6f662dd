"""``wattbench powercap``: energy and time of a workflow's images under several power caps."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import CommandError, UsageError
from ..processes.signals import held
from .run import add_batch_options, planned

if TYPE_CHECKING:
    from pathlib import Path

    from ..hosts.remote.batch import Batch, Visit
    from ..hosts.remote.graph import Graph
    from ..measure.power_limit.guarded import GuardedBoard, GuardedLimit
    from ..records import Run


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "powercap",
        help="find the power cap with the least energy per image",
        description="Run a workflow under several power caps of the board, and under its present "
        "limit before and after them. Needs an administrator's rights. The present limit is "
        "restored at the end, also after Ctrl-C, a crash or a kill. Arguments after -- go to "
        "ComfyUI.",
    )
    add_batch_options(parser)
    parser.add_argument(
        "--watts",
        type=watts,
        required=True,
        metavar="W,W,...",
        help="the caps, in whole watts: 150,200,250",
    )
    parser.add_argument(
        "--gpu",
        default="auto",
        metavar="NAME",
        help="the board that ComfyUI computes on, as `wattbench doctor` lists power limits: "
        "nvml:0 (default: the only one)",
    )
    parser.add_argument(
        "--sudo",
        action="store_true",
        help="start the small process that sets the limit through sudo, and nothing else: type "
        "`sudo -v` before",
    )
    parser.add_argument(
        "--settle",
        type=seconds,
        default=3.0,
        metavar="S",
        help="pause after each change of the limit, in seconds (default: 3)",
    )


def watts(text: str) -> tuple[int, ...]:
    """Whole watts with commas between them, for argparse."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not whole watts such as 150,200,250")
    return tuple(dict.fromkeys(int(part) for part in parts))


def seconds(text: str) -> float:
    """Seconds from 0 on, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


@dataclass(frozen=True)
class Block:
    """Runs that were made one after the other under one cap."""

    cap_w: float
    runs: tuple[Run, ...]


def run(args: argparse.Namespace) -> int:
    """Sweep; whatever was measured is written, also after a failure or Ctrl-C."""
    from ..hosts.remote.batch import NOTHING_MEASURED
    from ..measure.power_limit.guarded import SUDO, GuardedLimit
    from ..report import reserved

    batch = planned(args)
    blocks: list[Block] = []
    guarded = GuardedLimit(args.gpu, SUDO if args.sudo else ())
    try:
        with reserved(args.out), guarded as limit:
            board = limit.board
            check_range(args.watts, board)
            print("\n".join(found(board)), flush=True)
            sweep(batch, limit, [float(cap) for cap in args.watts], args.settle, blocks)
        print(f"the power limit of {board.name} is {board.former_w:g} W again")
    finally:
        if any(block.runs for block in blocks):
            write(blocks, guarded.board.former_w, args.out)
    if not any(block.runs for block in blocks):
        raise CommandError(NOTHING_MEASURED)
    return 0


def found(board: GuardedBoard) -> list[str]:
    """What to say of the limit before anything is measured."""
    lines = [f"{board.label}: the power limit is {board.former_w:g} W and will be restored"]
    if board.left_at_w is not None:
        lines.insert(
            0,
            f"{board.name} was at {board.left_at_w:g} W, where a sweep that was killed had left "
            "it; its former limit is in force again",
        )
    if board.allowed.differs(board.former_w):
        lines.append(
            f"note: {board.former_w:g} W is not this board's default limit, which is "
            f"{board.allowed.default_w:g} W; it is the baseline of this sweep"
        )
    return lines


def check_range(caps: Sequence[int], board: GuardedBoard) -> None:
    """Raise UsageError for caps that the board does not take."""
    low, high = board.allowed.minimum_w, board.allowed.maximum_w
    outside = [cap for cap in caps if not low <= cap <= high]
    if outside:
        raise UsageError(
            f"--watts {','.join(map(str, outside))}: {board.name} takes caps from {low:g} to "
            f"{high:g} W. Nothing was changed"
        )


def sweep(
    batch: Batch, limit: GuardedLimit, caps: Sequence[float], settle_s: float, blocks: list[Block]
) -> None:
    """Fill ``blocks``: in each visit the baseline, all caps, and the baseline again.

    Every other visit takes the caps in the opposite order.
    """
    baseline_w = limit.board.former_w
    others = [cap for cap in caps if cap != baseline_w]
    for number in range(1, batch.visits + 1):
        with batch.visit(number) as visit:
            graph = visit.graph()
            order = others if number % 2 else others[::-1]
            for position, cap_w in enumerate((baseline_w, *order, baseline_w)):
                limit.set_w(cap_w)
                time.sleep(settle_s)
                measure_block(visit, graph, cap_w, position, blocks)
                check_held(limit, cap_w, blocks[-1].runs)


def measure_block(
    visit: Visit, graph: Graph, cap_w: float, position: int, blocks: list[Block]
) -> None:
    """Run the workflow's repeats once more; ``blocks`` gains what they measured, in any case.

    A workflow that does not repeat by itself is run once before, which counts as a warm-up.
    """
    from ..hosts.remote.batch import Results
    from ..hosts.remote.graph import repeated, repeated_in_block, repeats_itself

    repeats = visit.batch.repeats
    warm_up, results = Results(), Results()
    part = f"{cap_w:g} W"
    try:
        if repeats_itself(graph):
            graphs = repeated(graph, repeats, {}) if repeats else [graph]
        else:
            first, *graphs = repeated_in_block(graph, repeats or 1, position, visit.definitions())
            visit.measure([first], warm_up, part, "warm-up")
        visit.measure(graphs, results, part, f"part {position + 1}")
    finally:
        warmed = [dataclasses.replace(run, is_warmup=True) for run in warm_up.runs]
        blocks.append(Block(cap_w, (*warmed, *results.runs)))


def check_held(limit: GuardedLimit, cap_w: float, runs: Sequence[Run]) -> None:
    """Raise CommandError unless these runs were made on this board and under this cap."""
    from ..measure.power_limit.base import TOLERANCE_W

    name = limit.board.name
    now_w = limit.read_w()
    if abs(now_w - cap_w) > TOLERANCE_W:
        raise CommandError(
            f"the limit of {name} was set to {cap_w:g} W and reads {now_w:g} W after the runs: "
            "another program has changed it"
        )
    for run in runs:
        seen_w = run.environment.power_limit_w
        if seen_w is None or abs(seen_w - cap_w) > TOLERANCE_W:
            meter = run.energy.meter if run.energy else "no meter"
            seen = "none" if seen_w is None else f"{seen_w:g} W"
            raise CommandError(
                f"the runs (measured by {meter}) were made under a limit of {seen}, not the "
                f"{cap_w:g} W of {name}: name the board that ComfyUI computes on with --gpu, or "
                "give ComfyUI another device"
            )


@held()
def write(blocks: Sequence[Block], baseline_w: float, folder: Path) -> None:
    """Add what was measured to the tables of ``folder``, and print the sweep; signals wait
    meanwhile.

    Raises:
        CommandError: they cannot be written; the runs are still in the journal.
    """
    from ..analysis.power_caps import analyse
    from ..report import append_runs, runs_frame
    from ..report.html import write_page
    from ..report.power_sweep import sweep_text, write_sweeps

    runs = [run for block in blocks for run in block.runs]
    labels = [(number, block.cap_w) for number, block in enumerate(blocks) for _ in block.runs]
    labelled = runs_frame(runs).assign(
        block=[number for number, _ in labels], cap_w=[cap_w for _, cap_w in labels]
    )
    sweeps = analyse(labelled, baseline_w)
    try:
        files = write_sweeps(runs, sweeps, folder) if sweeps else append_runs(runs, folder)
        page = write_page(folder)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"the tables cannot be written to {folder}: {error}. The runs are kept in the journal "
            "in ComfyUI's output folder"
        ) from error
    for one in sweeps:
        print(f"\n{sweep_text(one)}\n")
    print("\n".join([*map(str, files), page]))
