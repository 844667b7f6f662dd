"""Carries a plan out: visits in mirrored random blocks, each on the disk before the next begins."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from statistics import fmean
from typing import Any

from ..analysis.columns import RunRow
from ..errors import CommandError, UsageError
from ..hosts.remote.graph import repeated_in_block, repeats_itself
from ..measure.power_limit.base import TOLERANCE_W
from ..records import Run
from .cells import Ready
from .measured import Prompt
from .plan import Cell, Plan
from .precision import is_precise
from .rig import Bench, Rig
from .schedule import blocks
from .visits import UnwritableError, Visited, Visits

TRIES = 2
"""Servers that a visit may have: one may die by something that is none of the cell's."""

Event = dict[str, Any]
"""What happens, for people and programs: ``event`` names it, as docs/matrix.md lists them."""


@dataclass
class Matrix:
    """The runner of a plan.

    Args:
        ready: what of the plan can run here.
        journal: with its header; it tells what was done before.
        study: the name that this carrying out of the plan has in its runs.
        set_cap: sets the board's power limit in watts, or back where it was for ``None``.
        tell: gets every event.
        rest: waits so many seconds.
        last_block: no block after this one is begun in this run; they count from 1.
        remarks: what a reader of every run must know, such as what ran beside.
    """

    plan: Plan
    ready: Ready
    rig: Rig
    journal: Visits
    study: str
    set_cap: Callable[[int | None], None] = lambda cap_w: None
    tell: Callable[[Event], None] = lambda event: None
    clock: Callable[[], float] = time.monotonic
    rest: Callable[[float], None] = time.sleep
    last_block: int | None = None
    remarks: tuple[str, ...] = ()
    _began_s: float = 0.0
    _made_before: int = 0

    def run(self) -> bool:
        """Make what is missing; what is made is in the journal, whatever ends this.

        Returns:
            Whether the plan is over: nothing is left for another run.

        Raises:
            UsageError: the environment is no longer that of the journal.
            UnwritableError: the journal cannot be written.
        """
        self._began_s, self._made_before = self.clock(), len(self.journal.made)
        order = blocks(self.ready.cells, self.plan.seed)
        for block, cells in zip(range(self.plan.stop.blocks_max), order, strict=False):
            done = self.journal.done(block)
            left = [cell for cell in cells if not self.is_out(cell, block)]
            if not left:
                return True
            if self.last_block is not None and block >= self.last_block:
                return False
            self._block(block, [cell for cell in left if cell.name not in done])
            self.tell({"event": "block", "block": block + 1, "visits": len(self.journal.made)})
            enough = block + 1 >= self.plan.stop.blocks_min
            if enough and is_precise(self.plan, self.ready.cells, self.journal.made):
                return True
        return True

    def is_out(self, cell: Cell, block: int) -> bool:
        """Whether a cell failed before a block: then it costs no more."""
        return any(
            visit.error and visit.cell == cell.name and visit.block < block
            for visit in self.journal.made
        )

    def runs(self) -> list[Run]:
        """All runs, those of the baselines first."""
        places = {cell.name: place for place, cell in enumerate(self.ready.cells)}
        made = sorted(self.journal.made, key=lambda visit: (places[visit.cell], visit.block))
        return [run for visit in made for run in visit.runs]

    def _block(self, block: int, cells: Sequence[Cell]) -> None:
        """Visit cells in their order; those that may share a server, one after the other."""
        if self.plan.protocol.isolation == "process":
            groups = [[cell] for cell in cells]
        else:
            by_launch: dict[tuple[str, ...], list[Cell]] = {}
            for cell in cells:
                by_launch.setdefault(self.ready.asked[cell].launch, []).append(cell)
            groups = list(by_launch.values())
        for group in groups:
            waiting, tries = deque(group), 0
            while waiting:
                began_at = now()
                try:
                    tries = self._on_one_server(block, waiting, tries)
                except UnwritableError:
                    raise
                except CommandError as error:
                    # The server did not start, or was gone before it had got a prompt.
                    tries += 1
                    if tries == TRIES:
                        failed = Visited(waiting[0].name, block, began_at, 0.0, error=str(error))
                        self._keep(waiting.popleft(), failed)
                        tries = 0

    def _on_one_server(self, block: int, waiting: deque[Cell], tries: int) -> int:
        """Visit cells until none waits or one fails; how often the next was tried already."""
        name = f"b{block + 1}_c{self.ready.cells.index(waiting[0]) + 1}"
        launch = self.ready.asked[waiting[0]].launch
        with self.rig.open(launch, name) as bench:
            # Launch options may choose another device.
            if not launch:
                check_environment(self.journal.header["environment"], bench.environment())
            while waiting:
                cell = waiting[0]
                self._tell_visit(cell, block)
                visit, is_dead = self._visit(bench, cell, block)
                if is_dead and tries + 1 < TRIES:
                    return tries + 1
                self._keep(waiting.popleft(), visit)
                tries = 0
                if visit.error:
                    break
        return 0

    def _keep(self, cell: Cell, visit: Visited) -> None:
        self.journal.add(visit)
        facts = ("s_per_img", "j_per_img", "error", "duration_s")
        self.tell({"event": "visited", "cell": cell.name, **{k: vars(visit)[k] for k in facts}})
        self.rest(self.plan.protocol.cooldown_s)

    def _visit(self, bench: Bench, cell: Cell, block: int) -> tuple[Visited, bool]:
        """One visit, and whether its server died."""
        asked, protocol = self.ready.asked[cell], self.plan.protocol
        self.set_cap(asked.cap_w)
        began_at, began_s = now(), self.clock()
        # A server that has seen a seed answers from its cache.
        turn = 0 if self.rig.is_fresh else block
        graphs = repeated_in_block(
            asked.graph, protocol.repeats, turn, bench.definitions, protocol.warmup
        )
        stem = f"b{block + 1}_c{self.ready.cells.index(cell) + 1}"
        prompts: list[Prompt] = []
        for number, graph in enumerate(graphs):
            made = bench.instrumented(graph)
            self.tell({"event": "image", "image": number + 1, "of": len(graphs)})
            prompts.append(bench.measure(made, f"{stem}_{number + 1}"))
            if prompts[-1].error:
                break
        warmups = None if repeats_itself(asked.graph) else protocol.warmup
        runs = tuple(self._marked(prompts, cell, block, warmups))
        error = prompts[-1].error or _held(runs, asked.cap_w)
        counted = [run for run in runs if run.counts]
        s_per_img, j_per_img = _costs(prompts[warmups or 0 :], counted)
        visit = Visited(
            cell.name,
            block,
            began_at,
            self.clock() - began_s,
            s_per_img,
            j_per_img,
            error or ("" if counted else "no run of it counts"),
            runs,
        )
        return visit, prompts[-1].is_dead

    def _marked(
        self, prompts: Sequence[Prompt], cell: Cell, block: int, warmups: int | None
    ) -> list[Run]:
        """The runs of a visit, each with its place in the study and the file of its picture.

        ``warmups`` are the prompts that come first; ``None`` for a graph that tells them itself.
        """
        marked = []
        for number, prompt in enumerate(prompts):
            shown = [run for run in prompt.runs if not run.is_warmup and not run.error]
            names = [f"{path.parent.name}/{path.name}" for path in prompt.pictures]
            files = dict(zip((run.run_id for run in shown), names, strict=False))
            for run in prompt.runs:
                if warmups is not None:
                    is_warmup = number < warmups
                    repeat = number if is_warmup else number - warmups
                    run = replace(run, repeat=repeat, is_warmup=is_warmup)
                board = replace(run.board, flags=(*run.board.flags, *self.remarks))
                run = replace(run, study=self.study, cell=cell.name, visit=block + 1, board=board)
                marked.append(replace(run, picture_file=files.get(run.run_id, "")))
        return marked

    def _tell_visit(self, cell: Cell, block: int) -> None:
        count = max(self.plan.stop.blocks_min, block + 1) * len(self.ready.cells)
        made = len(self.journal.made)
        own = made - self._made_before
        took_s = self.clock() - self._began_s
        self.tell(
            {
                "event": "visit",
                "cell": cell.name,
                "block": block + 1,
                "visit": made + 1,
                "of": count,
                "left_s": took_s / own * max(0, count - made) if own else None,
            }
        )


def check_environment(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise UsageError where a machine or its software is no longer what it was.

    Runs of two environments are never compared, so that a study that went on would be none.
    """
    names = dict.fromkeys((*before, *now))
    changed = [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in names
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise UsageError(
            f"the environment has changed since this matrix began: {'; '.join(changed)}. Put it "
            "back as it was, or begin anew in another folder"
        )


def now() -> str:
    """ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _held(runs: Sequence[Run], cap_w: int | None) -> str:
    """What is wrong with the power limit that runs were made under; empty where nothing is."""
    for run in runs:
        seen_w = run.environment.power_limit_w
        if cap_w is not None and (seen_w is None or abs(seen_w - cap_w) > TOLERANCE_W):
            seen = "no known limit" if seen_w is None else f"a limit of {seen_w:g} W"
            return f"it ran under {seen}, not under {cap_w} W: name the board with --gpu"
    return ""


def _costs(prompts: Sequence[Prompt], runs: Sequence[Run]) -> tuple[float | None, float | None]:
    """Seconds and joules of a picture: of whole prompts where these are known, else of the runs.

    Args:
        prompts: those after the warm-ups.
        runs: those that count.
    """
    watched = [prompt for prompt in prompts if prompt.time_s is not None]
    if watched:
        sound = [prompt for prompt in watched if all(run.counts for run in prompt.runs)]
        seconds = [prompt.s_per_img for prompt in sound]
        joules = [prompt.j_per_img for prompt in sound]
    else:
        seconds = [_time_s(run) for run in runs]
        joules = [RunRow(run).j_per_img for run in runs]
    return geometric_mean(seconds), geometric_mean(joules)


def _time_s(run: Run) -> float | None:
    time_s = RunRow(run).image_time_s
    return None if time_s is None else time_s / (run.condition.batch_size or 1)


def geometric_mean(values: Sequence[float | None]) -> float | None:
    """Of values above 0; ``None`` where one is missing, or there is none."""
    known = [value for value in values if value is not None and value > 0]
    if not known or len(known) < len(values):
        return None
    return math.exp(fmean(math.log(value) for value in known))
