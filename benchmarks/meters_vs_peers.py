"""WattBench's meter beside Zeus and CodeCarbon, on the same simulated NVIDIA board.

    python benchmarks/meters_vs_peers.py [--experiments 3] [--out output/meters_vs_peers]
        [--response-ms 50] [--tick-ms 100] [--board alternating]

The board is the tests' simulated libnvidia-ml.so.1 under the real nvidia-ml-py, so the truth is
known from the script of its power. Its counter ticks every 100 ms, and its power jumps unless
``--response-ms`` gives it a time constant; ``--board`` says how it goes on from step to step. An
experiment is ten runs of 60 ms encoding, 20 steps of 45 ms and 80 ms decoding at different powers,
as in an image's making; nobody computes, so the CPU time is that of the tool. All tools watch the
same board at the same time, each in a process of its own and used as its documentation tells a
user. It needs Linux and a C compiler; a peer that is not installed is left out (pip install zeus
codecarbon).
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers

ROOT = Path(__file__).resolve().parent.parent
RUNS = 10
"""Runs of an experiment, whose mean is what its user would report."""
PERIOD_S, JITTER_S = 2.0, 0.1
"""A run starts every PERIOD_S, up to JITTER_S later, so that runs meet the ticks differently."""
SPARE_SLOTS = 90
"""Runs that go by while a tool is imported and set up, warms up, or is held up by the machine."""
GOAL = 10.0


@dataclass(frozen=True)
class Score:
    """One tool: root mean square over experiments of the error of the mean of ten runs.

    ``phase_errors`` and ``whole_error`` are shares of the truth, ``run_error`` is the same of
    single runs over all phases, ``cpu_share`` CPU seconds a second beyond those of doing nothing,
    and ``beside_share`` those of them that threads of the tool spent beside the measured one.
    """

    tool: str
    phase_errors: dict[str, float]
    whole_error: float
    run_error: float
    cpu_share: float
    beside_share: float

    @property
    def phase_error(self) -> float:
        """The worst phase's."""
        return max(self.phase_errors.values())


def main() -> int:
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tools = [tool for tool in args.tools if is_installed(tool)]
    library = build_library(args.out / "library")
    origin_s, rng = time.perf_counter(), random.Random(args.seed)
    count = args.experiments * args.runs
    slots = [1 + i * PERIOD_S + rng.uniform(0, JITTER_S) for i in range(count + SPARE_SLOTS)]
    script = args.out / "board.script"
    text = board_script(slots, origin_s, args)
    script.write_text(text, encoding="ascii")
    job = {"slots": [origin_s + slot for slot in slots], "count": count, "runs": args.runs}
    job |= {"response_s": args.response_ms / 1000, "board": args.board}
    print(f"{count} runs of {', '.join(tools)}: at most {slots[-1]:.0f} s", flush=True)
    results = measure(tools, job, script, library, args.out)
    idle = results.pop(peers.NOTHING)
    scores = [one for tool in tools for one in score(tool, results[tool], args.runs, idle)]
    print(table(scores))
    for tool in tools:
        if results[tool].blank:
            print(f"{tool} gave no energy for {results[tool].blank} further runs")
        print_coverage(tool, results[tool], args.runs)
    print(verdict(scores))
    write_csv(scores, args.out / "meters_vs_peers.csv")
    return 0


def is_installed(tool: str) -> bool:
    """Whether the tool can be imported; says so where it cannot."""
    package = peers.PACKAGES.get(tool)
    if package is None or importlib.util.find_spec(package) is not None:
        return True
    print(f"{tool} is left out, because it is not installed: pip install {package}")
    return False


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--experiments", type=int, default=3)
    parser.add_argument("--runs", type=int, default=RUNS, help="of an experiment")
    parser.add_argument("--tools", nargs="+", default=list(peers.TOOLS), choices=list(peers.TOOLS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--response-ms", type=float, default=0.0, help="the board's time constant")
    parser.add_argument("--board", default="flat", choices=list(peers.BOARDS))
    parser.add_argument("--tick-ms", type=float, default=100.0, help="of its counter")
    parser.add_argument("--out", type=Path, default=Path("output") / "meters_vs_peers")
    return parser.parse_args()


def build_library(folder: Path) -> Path:
    """The simulated NVML, and an nvidia-smi beside it; returns their folder."""
    folder.mkdir(exist_ok=True)
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        raise SystemExit("the simulated board needs Linux and a C compiler (the command cc)")
    source = ROOT / "tests" / "data" / "fake_nvml.c"
    command = [
        compiler,
        "-O1",
        "-shared",
        "-fPIC",
        "-o",
        folder / "libnvidia-ml.so.1",
        source,
        "-lm",
    ]
    subprocess.run(command, check=True)
    # CodeCarbon looks for NVIDIA boards only where `nvidia-smi --help` can be run. It reads none
    # of its numbers: those come from NVML.
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexit 0\n", encoding="ascii")
    smi.chmod(0o755)
    return folder


def measure(
    tools: Sequence[str], job: dict[str, Any], script: Path, library: Path, out: Path
) -> dict[str, peers.Result]:
    """What each tool, and doing nothing, found: all at once, each in a process of its own.

    Raises:
        SystemExit: one failed.
    """
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(library),
        "FAKE_NVML_SCRIPT": str(script),
        "PATH": f"{library}{os.pathsep}{os.environ['PATH']}",
    }
    processes, results = {}, {}
    for number, tool in enumerate([peers.NOTHING, *tools]):
        answer, log = out / f"tool{number}.json", (out / f"tool{number}.log").open("wb")
        command = [sys.executable, peers.__file__, json.dumps({"tool": tool, **job}), answer]
        with log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        processes[tool] = (process, answer, Path(log.name))
    for tool, (process, answer, log_path) in processes.items():
        if process.wait() != 0:
            raise SystemExit(f"{tool} failed:\n{log_path.read_text(encoding='utf-8')[-3000:]}")
        results[tool] = peers.Result(**json.loads(answer.read_text(encoding="utf-8")))
    return results


def board_script(slots: Sequence[float], origin_s: float, args: argparse.Namespace) -> str:
    """The simulated board's power over time."""
    lines = [f"origin {origin_s}", "gpu", "uuid GPU-1", "name Simulated", "pci 0:1:0", "arch 8"]
    lines += ["memory 24000000000 0 1000000000", "limit_mw 350000", "counter_mj 1000000"]
    lines += [f"response_ms {args.response_ms}", f"tick_ms {args.tick_ms}"]
    lines.append(f"power -100 {peers.IDLE_W}")
    parts = [part for phase in peers.PHASES for part in peers.segments(phase, args.board)]
    for start in slots:
        for duration_s, power_w in parts:
            lines.append(f"power {start} {power_w}")
            start += duration_s
        lines.append(f"power {start} {peers.IDLE_W}")
    return "\n".join(lines) + "\n"


def score(tool: str, result: peers.Result, runs: int, idle: peers.Result) -> list[Score]:
    """The tool's score; and a second one where it pools the runs of an experiment."""
    truth = means(result.true_j, runs)
    methods = {tool: means(result.measured_j, runs), f"{tool}, pooled": result.pooled_j}
    single = [
        error
        for pair in zip(result.measured_j, result.true_j, strict=True)
        for error in errors(*pair)
    ]
    return [
        Score(
            tool=label,
            phase_errors={
                phase.name: rms(
                    [m[phase.name] / t[phase.name] - 1 for m, t in zip(found, truth, strict=True)]
                )
                for phase in peers.PHASES
            },
            whole_error=rms(
                [sum(m.values()) / sum(t.values()) - 1 for m, t in zip(found, truth, strict=True)]
            ),
            run_error=rms(single),
            cpu_share=result.cpu_s / result.elapsed_s - idle.cpu_s / idle.elapsed_s,
            beside_share=result.beside_s / result.elapsed_s,
        )
        for label, found in methods.items()
        if found
    ]


def print_coverage(tool: str, result: peers.Result, runs: int) -> None:
    """How many of the stated intervals hold the truth, of a tool that states some."""
    truth = means(result.true_j, runs)
    hits = [
        abs(mean[name] - true[name]) <= half[name]
        for mean, half, true in zip(result.pooled_j, result.half_j, truth, strict=False)
        for name in mean
    ]
    if hits:
        print(f"{tool}: {sum(hits)} of {len(hits)} intervals of 95 % hold the truth")


def means(values: Sequence[peers.Joules], runs: int) -> list[peers.Joules]:
    """Mean joules of each phase in each experiment."""
    experiments = [values[first : first + runs] for first in range(0, len(values), runs)]
    return [
        {phase.name: sum(run[phase.name] for run in group) / len(group) for phase in peers.PHASES}
        for group in experiments
    ]


def errors(measured: peers.Joules, truth: peers.Joules) -> list[float]:
    """Of each phase, as a share of the truth."""
    return [measured[phase.name] / truth[phase.name] - 1 for phase in peers.PHASES]


def rms(values: Sequence[float]) -> float:
    return (sum(value**2 for value in values) / len(values)) ** 0.5


HEADINGS = (
    "Tool",
    *(phase.label for phase in peers.PHASES),
    "Whole run",
    "One run",
    "CPU",
    "of it beside",
)


def cells(one: Score) -> tuple[str, ...]:
    errors = [*one.phase_errors.values(), one.whole_error, one.run_error]
    cpu = (f"{one.cpu_share:.2%}", f"{one.beside_share:.2%}" if one.beside_share else "")
    return (one.tool, *(f"{error:.1%}" for error in errors), *cpu)


def table(scores: Sequence[Score]) -> str:
    """A Markdown table: errors of the mean of ten runs, of a single run's phases, and CPU."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *map(cells, scores)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def verdict(scores: Sequence[Score]) -> str:
    """How much smaller the worst phase's error is than the best peer's, and at which CPU."""
    ours = [one for one in scores if one.tool.startswith(peers.OURS)]
    others = [one for one in scores if one not in ours]
    if not ours or not others:
        return "nothing to compare"
    our, best = min(ours, key=key), min(others, key=key)
    return (
        f"worst phase: {our.tool} {our.phase_error:.1%}, {best.tool} {best.phase_error:.1%}: "
        f"{best.phase_error / our.phase_error:.0f} times smaller (goal {GOAL:g}); "
        f"CPU {our.cpu_share:.2%} against {best.cpu_share:.2%} of a core"
    )


def key(one: Score) -> float:
    return one.phase_error


def write_csv(scores: Sequence[Score], path: Path) -> None:
    """Errors as shares of the truth."""
    columns = [*(f"{phase.name}_error" for phase in peers.PHASES), "whole_error", "run_error"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["tool", *columns, "cpu_share", "beside_share"])
        for one in scores:
            errors = [*one.phase_errors.values(), one.whole_error, one.run_error]
            writer.writerow([one.tool, *errors, one.cpu_share, one.beside_share])


if __name__ == "__main__":
    sys.exit(main())
