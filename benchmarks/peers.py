"""The tools that meters_vs_peers.py compares, each used as its documentation tells a user.

Run as a script it lets one tool measure runs at given moments, and writes what it found.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pack import import_pack

JOULES_PER_KWH = 3.6e6
IDLE_W = 30.0
"""What the board draws between runs."""

Joules = dict[str, float]
"""Of each phase of a run."""


@dataclass(frozen=True)
class PhaseScript:
    """A phase of a run, and what the board draws in it."""

    name: str
    label: str
    duration_s: float
    power_w: float


PHASES = (
    PhaseScript("text_encode", "Encode (60 ms)", 0.06, 150.0),
    PhaseScript("denoise", "Denoise (20 × 45 ms)", 0.9, 300.0),
    PhaseScript("decode", "Decode (80 ms)", 0.08, 220.0),
)


STEPS = 20
"""Of denoising, equally long."""

BOARDS = {
    "flat": (300.0,) * STEPS,
    "alternating": (220.0, 380.0) * (STEPS // 2),
    "ramped": tuple(240.0 + 120.0 * step / (STEPS - 1) for step in range(STEPS)),
    "capped": (360.0,) * 6 + (280.0,) * (STEPS - 6),
}
"""Watts of each step, by the kind of board."""


def segments(phase: PhaseScript, board: str) -> list[tuple[float, float]]:
    """Seconds and watts of a phase's parts: denoising has its steps."""
    if phase.name != "denoise":
        return [(phase.duration_s, phase.power_w)]
    return [(phase.duration_s / STEPS, power_w) for power_w in BOARDS[board]]


@dataclass
class Result:
    """What a tool measured, and what the board drew in the same windows.

    ``pooled_j`` has an entry for each experiment where the tool pools its runs, ``half_j`` the half
    widths of its 95 % intervals. CPU seconds are
    those of the process, its threads and its children while ``elapsed_s`` went by; ``beside_s``
    are those of them that other threads spent than the one that is measured. ``blank`` counts runs
    for which the tool gave no energy.
    """

    measured_j: list[Joules] = field(default_factory=list)
    true_j: list[Joules] = field(default_factory=list)
    pooled_j: list[Joules] = field(default_factory=list)
    half_j: list[Joules] = field(default_factory=list)
    cpu_s: float = 0.0
    beside_s: float = 0.0
    elapsed_s: float = 0.0
    blank: int = 0


class Tool:
    """Does nothing: what waiting costs by itself. A tool is entered once around all runs."""

    def __init__(self) -> None:
        self.joules: Joules = {}
        """Of the last run's phases."""

    def __enter__(self) -> Tool:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    @contextmanager
    def run(self) -> Iterator[None]:
        """Around a run; afterwards ``joules`` has its phases."""
        self.joules = {}
        yield

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        yield
        self.joules[name] = 0.0

    def step(self) -> None:
        """A sampling step is over, within the phase that goes on."""

    def keep(self) -> None:
        """The last run counts."""

    def pooled(self, runs: int) -> list[tuple[Joules, Joules]]:
        """Mean joules and half width of each phase, of ``runs`` kept runs at a time.

        Empty without pooling, and for runs whose phases the tool leaves blank.
        """
        return []


class WattBench(Tool):
    """The instrument that the pack's nodes measure with."""

    def __enter__(self) -> WattBench:
        import torch

        wattbench = import_pack()
        self._records = wattbench("records")
        self._pooled_phases = wattbench("measure.energy.phases").pooled_phases
        self._estimate = wattbench("stats").estimate
        self._runs = wattbench("measure.recording.runs")
        device_id = wattbench("measure.meters").DeviceId("cpu")
        instrument = wattbench("measure.recording.instrument").Instrument
        self._stack = ExitStack()
        self._instrument = self._stack.enter_context(
            instrument(torch.device("cpu"), device_id, "nvml:0")
        )
        self._recordings: list[Any] = []
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def run(self) -> Iterator[None]:
        with self._instrument.record() as (self._window, self._recording):
            yield
        self.joules = {
            phase.name: phase.energy.energy_j
            for phase in self._recording.phases
            if phase.energy is not None
        }

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        with self._window.phase(name) as self._span:
            yield

    def step(self) -> None:
        self._window.step(self._span)

    def keep(self) -> None:
        self._recordings.append(self._recording)

    def pooled(self, runs: int) -> list[tuple[Joules, Joules]]:
        names = [script.name for script in PHASES]
        found = []
        for first in range(0, len(self._recordings), runs):
            made = [self._run(one) for one in self._recordings[first : first + runs]]
            phases = [one.energy_j for one in self._pooled_phases(made)]
            if all(phases):
                parts = {n: self._estimate([one[n] for one in phases], "J") for n in names}
                means = {name: part.value for name, part in parts.items()}
                found.append((means, {name: part.half_width for name, part in parts.items()}))
        return found

    def _run(self, recording: Any) -> Any:
        """As a node makes it; nothing is known of a condition and an environment here."""
        blank = {"condition": self._records.Condition, "environment": self._records.Environment}
        parts = {
            key: kind(**dict.fromkeys((f.name for f in fields(kind)), ""))
            for key, kind in blank.items()
        }
        return self._runs.measured_run(self._runs.new_run(**parts, seed=0, visit=0), [recording])


class Zeus(Tool):
    """A ZeusMonitor with a window around each phase; torch has no device here to synchronise."""

    approximate = False

    def __enter__(self) -> Zeus:
        from zeus.monitor import ZeusMonitor

        self._monitor = ZeusMonitor(gpu_indices=[0], approx_instant_energy=self.approximate)
        return self

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._monitor.begin_window(name, sync_execution=False)
        yield
        measurement = self._monitor.end_window(name, sync_execution=False)
        self.joules[name] = measurement.total_energy


class ApproximateZeus(Zeus):
    """With the option that its warning recommends for windows shorter than the counter's tick."""

    approximate = True


class CodeCarbon(Tool):
    """A tracker that starts and stops a task for each phase, without a network."""

    def __enter__(self) -> CodeCarbon:
        from codecarbon import OfflineEmissionsTracker

        self._tracker = OfflineEmissionsTracker(
            country_iso_code="BRA", gpu_ids=[0], save_to_file=False, log_level="error"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._tracker.stop()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._tracker.start_task()
        yield
        self.joules[name] = self._tracker.stop_task().gpu_energy * JOULES_PER_KWH


NOTHING, OURS = "nothing", "WattBench"
TOOLS: dict[str, type[Tool]] = {
    OURS: WattBench,
    "Zeus": Zeus,
    "Zeus, approx_instant_energy": ApproximateZeus,
    "CodeCarbon": CodeCarbon,
}
PACKAGES = {"Zeus": "zeus", "Zeus, approx_instant_energy": "zeus", "CodeCarbon": "codecarbon"}


READY_S = 0.4
"""A run is opened so long before its moment; ours lets a tick of the counter go by meanwhile."""


STALL_S = 0.005
"""A run that the machine held up by more is passed over: the board does not wait for it."""


class LateError(RuntimeError):
    """A run was not ready at its moment, or was held up."""


def play(tool: Tool, start_s: float, response_s: float, board: str) -> tuple[Joules, Joules]:
    """Let a tool measure a run at its moment: what it says, and what the board drew.

    A phase's window reaches from the moment that the tool was told of its start to that of its end.

    Raises:
        LateError: the run's moment had gone by, or the machine held it up.
    """
    windows, at_s, stall_s = {}, start_s, 0.0
    if time.perf_counter() > start_s - READY_S:
        raise LateError
    wait_until(start_s - READY_S)
    with tool.run():
        if time.perf_counter() > start_s:
            raise LateError
        for script in PHASES:
            wait_until(at_s)
            told_s = time.perf_counter()
            with tool.phase(script.name):
                parts = segments(script, board)
                for duration_s, _ in parts:
                    at_s += duration_s
                    late_s = wait_until(at_s)
                    if len(parts) > 1:
                        tool.step()
                stall_s = max(stall_s, late_s)
                windows[script.name] = (told_s, time.perf_counter())
    if stall_s > STALL_S:
        raise LateError
    return dict(tool.joules), {
        name: drawn_j(start_s, *window, response_s, board) for name, window in windows.items()
    }


def drawn_j(
    run_start_s: float, start_s: float, end_s: float, response_s: float, board: str
) -> float:
    """Joules of a span, by the board's script, of a run that started at ``run_start_s``."""

    def risen_s(at_s: float) -> float:
        """Seconds that a step of power, made at a moment, brings within the span."""
        sides = [max(side_s - at_s, 0.0) for side_s in (start_s, end_s)]
        if response_s:
            sides = [side + response_s * math.expm1(-side / response_s) for side in sides]
        return sides[1] - sides[0]

    joules, at_s, power_w = IDLE_W * (end_s - start_s), run_start_s, IDLE_W
    for duration_s, level_w in [part for script in PHASES for part in segments(script, board)]:
        joules += (level_w - power_w) * risen_s(at_s)
        at_s, power_w = at_s + duration_s, level_w
    return joules + (IDLE_W - power_w) * risen_s(at_s)


def wait_until(moment_s: float) -> float:
    """Sleep; by how many seconds it took too long, because other programs ran."""
    began_s = time.perf_counter()
    time.sleep(max(0.0, moment_s - began_s))
    return time.perf_counter() - max(moment_s, began_s)


def measure(
    tool: Tool, slots: Sequence[float], count: int, runs: int, response_s: float, board: str
) -> Result:
    """Let a tool measure ``count`` of the board's runs, which start at these times.

    They are of ``time.perf_counter``. The first run is a warm-up, in which a tool may still import
    what it needs; runs whose moment has gone by are passed over.

    Raises:
        RuntimeError: too few were left.
    """
    result, began_s, cpu_s, beside_s = Result(), 0.0, 0.0, 0.0
    with tool:
        for slot in slots:
            try:
                measured_j, true_j = play(tool, slot, response_s, board)
            except LateError:
                continue
            if not began_s:
                began_s, cpu_s, beside_s = time.perf_counter(), cpu_seconds(), beside_seconds()
                continue
            if len(measured_j) < len(PHASES):
                result.blank += 1
                continue
            tool.keep()
            result.measured_j.append(measured_j)
            result.true_j.append(true_j)
            if len(result.true_j) == count:
                result.cpu_s = cpu_seconds() - cpu_s
                result.beside_s = beside_seconds() - beside_s
                result.elapsed_s = time.perf_counter() - began_s
                for means, halves in tool.pooled(runs):
                    result.pooled_j.append(means)
                    result.half_j.append(halves)
                return result
    raise RuntimeError("too many runs were missed: this machine is too busy")


def cpu_seconds() -> float:
    """Of this process with all its threads, and of the children that it has waited for."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def beside_seconds() -> float:
    """Of all other threads of this process."""
    return time.process_time() - time.thread_time()


def main() -> int:
    job, path = json.loads(sys.argv[1]), Path(sys.argv[2])
    tool = TOOLS.get(job["tool"], Tool)()
    names = ("slots", "count", "runs", "response_s", "board")
    result = measure(tool, *(job[name] for name in names))
    path.write_text(json.dumps(asdict(result)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
