"""What results cost as they grow: CPU seconds and peak memory of the commands that read them.

``python benchmarks/scale.py --runs 1000 10000 100000 --conditions 20``. The runs are synthetic and
made with a seed: so many conditions in turn, in ten server processes, each run with 20 steps and
the 15 ticks of a counter. A column is a command in a process of its own, the start of Python
included: a journal's summary; all its tables; one more run added to these; a page of them.
Prints a Markdown table. Linux and macOS.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pack import import_pack

wattbench = import_pack()

PHASES_S = {"text_encode": 0.06, "denoise": 0.9, "decode": 0.08}
TICK_S, TICK_COUNT, POWER_W = 0.1, 15, 300.0
STEPS, VISITS = 20, 10
COLUMNS = ("journal", "its summary", "its tables", "one more run", "report")


def made_runs(count: int, conditions: int) -> Iterator[Any]:
    """So many synthetic runs, each of its condition in turn."""
    records, dice = wattbench("records"), random.Random(13)
    plain = records.Condition(
        "sdxl", "synthetic", "synthetic", "", "fp16", 1024, 1024, 1, STEPS, 7.0, "euler", "normal"
    )
    asked = [replace(plain, attention=f"kernel {number}") for number in range(conditions)]
    environment = records.Environment(*(["synthetic"] + [""] * 12), None)
    for number in range(count):
        slower = 1 + 0.02 * dice.gauss(0, 1)
        phases, at_s = [], TICK_S + dice.uniform(0, TICK_S)
        for name, plain_s in PHASES_S.items():
            seconds = plain_s * slower
            joules = POWER_W * seconds * (1 + 0.01 * dice.gauss(0, 1))
            energy = records.EnergyReading(joules, seconds, "made:0", "gpu", "attributed", 30.0, 12)
            is_stepped = name == "denoise"
            ends_s = [at_s + seconds * n / STEPS for n in range(1, STEPS + 1)] if is_stepped else ()
            phases.append(records.Phase(name, at_s, seconds, energy, tuple(ends_s)))
            at_s += seconds
        visit = number * VISITS // count
        yield records.Run(
            run_id=f"run {number}",
            started_at=f"2026-11-20T09:00:00.{number % 1000:03}+00:00",
            condition=asked[number % conditions],
            environment=environment,
            seed=number // conditions,
            visit=visit,
            repeat=number // conditions,
            is_warmup=False,
            phases=tuple(phases),
            energy=replace(
                phases[1].energy,
                energy_j=sum(phase.energy.energy_j for phase in phases),
                duration_s=sum(phase.duration_s for phase in phases),
            ),
            trace=records.Trace(
                tuple(
                    records.CounterSample(n * TICK_S, POWER_W * n * TICK_S + dice.uniform(0, 2))
                    for n in range(TICK_COUNT)
                )
            ),
            process_id=f"process {visit}",
        )


def write_journal(path: Path, runs: Iterator[Any]) -> str:
    """Write the runs as a journal; its size."""
    dumps = wattbench("measure.protocol.journal").dumps
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{dumps(run)}\n" for run in runs)
    return f"{path.stat().st_size / 2**20:.0f} MiB"


def cost(*arguments: str) -> str:
    """CPU seconds and peak memory of this script's child that does :func:`one`."""
    command = [sys.executable, __file__, "--one", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with code {child.returncode}")
    peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{usage.ru_utime + usage.ru_stime:.1f} s, {peak_bytes / 2**20:.0f} MiB"


def one(arguments: list[str]) -> int:
    """A command of ``wattbench``, or ``add``: the runs of a journal to the tables of a folder."""
    if arguments[0] != "add":
        return int(wattbench("cli").main(arguments))
    source, folder = map(Path, arguments[1:])
    runs = wattbench("measure.protocol.journal").read(source.read_bytes()).runs
    wattbench("report").append_runs(runs, folder)
    return 0


def figures(count: int, conditions: int, folder: Path) -> list[str]:
    """Of each of :data:`COLUMNS`."""
    journal, another, tables = folder / "journal.jsonl", folder / "one.jsonl", folder / "tables"
    *runs, last = made_runs(count + 1, conditions)
    size = write_journal(journal, iter(runs))
    write_journal(another, iter([last]))
    del runs
    return [
        size,
        cost("summary", str(journal)),
        cost("add", str(journal), str(tables)),
        cost("add", str(another), str(tables)),
        cost("report", str(tables), "--out", str(folder / "report.html")),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--conditions", type=int, default=20)
    parser.add_argument("--one", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        raise SystemExit(one(args.one))
    print(f"| runs | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for count in args.runs:
        with tempfile.TemporaryDirectory() as folder:
            cells = figures(count, min(args.conditions, count), Path(folder))
            print(f"| {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
