"""How far a matrix is: a line that stays in place, plain lines when piped, events for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..study.cells import Ready
    from ..study.plan import Plan


class Progress:
    """Tells what a :class:`..study.matrix.Matrix` does; prints only."""

    def __init__(self, is_json: bool) -> None:
        self._is_json = is_json
        self._in_place = sys.stdout.isatty() and not is_json
        self._visit: dict[str, Any] = {}
        self._image = ""
        self._rate = ""
        self._cost = ""
        self._first_step: tuple[int, float] | None = None

    def plan(self, plan: Plan, ready: Ready, start_s: float) -> None:
        """Every cell, the runs and the hours, and what cannot run here and why."""
        hours = [hours_of(plan, len(ready.cells), start_s, n) for n in block_counts(plan)]
        runs = [len(ready.cells) * plan.protocol.repeats * n for n in block_counts(plan)]
        if self._is_json:
            cells = [cell.name for cell in ready.cells]
            skipped = [{"cell": one.cell.name, "reason": one.reason} for one in ready.skipped]
            facts = {"cells": cells, "skipped": skipped, "runs": runs, "hours": hours}
            self._print({"event": "plan", "name": plan.name, **facts})
            return
        for cell in ready.cells:
            is_baseline = plan.baseline_of(cell) == cell
            print(f"  {cell.name}{' (baseline)' if is_baseline else ''}")
        for one in ready.skipped:
            print(f"  not here: {one.cell.name}: {one.reason}")
        protocol, stop = plan.protocol, plan.stop
        print(
            f"{len(ready.cells)} cells, {span_of(block_counts(plan))} blocks, until every "
            f"ratio is known within {stop.half_width:.1%}; order from seed {plan.seed}"
        )
        print(
            f"{span_of(runs)} runs that count, {protocol.repeats} in each visit after "
            f"{protocol.warmup} warm-up{'s' * (protocol.warmup != 1)}"
        )
        print(
            f"about {span_of([float(f'{h:.2g}') for h in hours])} h, if an image takes "
            f"{protocol.expected_s:g} s (expected_s); an image may take {protocol.deadline_s:g} s",
            flush=True,
        )

    def tell(self, event: dict[str, Any]) -> None:
        """An event of the matrix."""
        kind = event["event"]
        if kind == "visit":
            self._visit, self._rate, self._cost = event, "", ""
        elif kind == "image":
            self._image, self._first_step = f"image {event['image']}/{event['of']}", None
        elif kind == "visited":
            self._cost = cost_of(event)
        if self._is_json:
            self._print(event)
        elif self._in_place:
            self._show(self._line())
        elif kind == "visited":
            print(f"{self._where()}: {event['cell']}: {event['error'] or self._cost}", flush=True)

    def say(self, text: str) -> None:
        """What a server's start is at; programs are not told."""
        if self._in_place:
            self._show(text)
        elif not self._is_json:
            print(text, flush=True)

    def follow(self, event: dict[str, Any]) -> None:
        """An event of a prompt that runs: steps make the line's it/s."""
        if event.get("type") != "progress" or not self._in_place:
            return
        now_s, done = time.monotonic(), int(event["completed"])
        if self._first_step is None or done < self._first_step[0]:
            self._first_step = done, now_s
        elif now_s > self._first_step[1]:
            steps = done - self._first_step[0]
            self._rate = f"{steps / (now_s - self._first_step[1]):.2f} it/s"
        self._show(self._line())

    def end(self, lines: Sequence[str], is_over: bool | None = True) -> None:
        """What was written, and whether nothing of the plan is left; ``None`` after a failure."""
        if self._is_json:
            self._print({"event": "end", "files": list(lines), "over": is_over})
            return
        print("\n" * self._in_place + "\n".join(lines), flush=True)

    def _where(self) -> str:
        left_s = self._visit["left_s"]
        left = "" if left_s is None else f", {left_s / 60:.0f} min left"
        visit = f"visit {self._visit['visit']}/{self._visit['of']}, block {self._visit['block']}"
        return visit + left

    def _line(self) -> str:
        if not self._visit:
            return ""
        parts = (self._where(), self._image, self._rate, self._cost)
        return f"{', '.join(part for part in parts if part)}: {self._visit['cell']}"

    def _show(self, text: str) -> None:
        """In place of the line before, so cut that it takes one line."""
        import shutil

        width = shutil.get_terminal_size().columns - 1
        cut = text if len(text) <= width else text[: max(0, width - 1)] + "…"
        print(f"\r\x1b[K{cut}", end="", flush=True)

    def _print(self, data: dict[str, Any]) -> None:
        print(json.dumps(data, ensure_ascii=False), flush=True)


def span_of(values: Sequence[float]) -> str:
    """``8`` or ``8 to 12``."""
    return " to ".join(f"{value:g}" for value in dict.fromkeys(values))


def block_counts(plan: Plan) -> tuple[int, int]:
    return plan.stop.blocks_min, plan.stop.blocks_max


def hours_of(plan: Plan, cell_count: int, start_s: float, blocks: int) -> float:
    """What so many blocks take, by the plan's ``expected_s``."""
    protocol = plan.protocol
    visit_s = (protocol.warmup + protocol.repeats) * protocol.expected_s + protocol.cooldown_s
    visit_s += start_s if protocol.isolation == "process" else start_s / max(1, cell_count)
    return blocks * cell_count * visit_s / 3600


def cost_of(event: dict[str, Any]) -> str:
    """What an image of a visit took, as ``1.52 s/img, 210 J/img``."""
    seconds, joules = event["s_per_img"], event["j_per_img"]
    parts = [
        "" if seconds is None else f"{seconds:.4g} s/img",
        "" if joules is None else f"{joules:.4g} J/img",
    ]
    return ", ".join(part for part in parts if part) or "measured"
