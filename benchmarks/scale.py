"""What tables cost as runs grow: CPU seconds and peak memory of pooling, export and journal.

``python benchmarks/scale.py --runs 1000 10000 100000 --journal 200000``. Runs are made up: three
phases under a counter of 100 ms, made alike and pooled together. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pack import import_pack

wattbench = import_pack()

PHASES_S = {"text_encode": 0.06, "denoise": 0.9, "decode": 0.08}
TICK_S, POWER_W = 0.1, 300.0


def made_runs(count: int) -> Iterator[object]:
    """Runs of one condition, whose counter ticks at another moment in each."""
    records = wattbench("records")
    condition = records.Condition(
        "sdxl", "made up", "file", "sdpa", "fp16", 1024, 1024, 1, 20, 7.0, "euler", "normal"
    )
    environment = records.Environment(*(["made up"] + [""] * 12), None)
    first = None
    for number in range(count):
        start_s = (number * 0.0137) % TICK_S + TICK_S
        phases, at_s = [], start_s
        for name, seconds in PHASES_S.items():
            joules = POWER_W * seconds
            energy = records.EnergyReading(joules, seconds, "made:0", "gpu", "attributed", 30.0, 12)
            phases.append(records.Phase(name, at_s, seconds, energy))
            at_s += seconds
        ticks = tuple(
            records.CounterSample(n * TICK_S, POWER_W * n * TICK_S + (n * number) % 7)
            for n in range(15)
        )
        whole = sum(PHASES_S.values())
        first = first or records.Run(
            "", "2026-11-20T09:00:00.000+00:00", condition, environment, 1, 1, 0, False
        )
        yield replace(
            first,
            run_id=f"run {number}",
            seed=number,
            repeat=number,
            phases=tuple(phases),
            energy=replace(phases[1].energy, energy_j=POWER_W * whole, duration_s=whole),
            trace=records.Trace(counter=ticks),
        )


def timed(work: Callable[[], object]) -> str:
    began_s = time.process_time()
    work()
    seconds = time.process_time() - began_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{seconds:.2f} s, {peak_mib:.0f} MiB"


def tables_of(count: int, folder: Path) -> list[str]:
    """Pooling and tables of ``count`` runs, adding one more to them, and a page of them all."""
    analysis, report = wattbench("analysis.analysis").Analysis, wattbench("report")
    page = wattbench("report.html")
    *runs, last = made_runs(count + 1)
    return [
        timed(lambda: analysis.of(runs).summary),
        timed(lambda: report.append_runs(runs, folder)),
        timed(lambda: report.append_runs([last], folder)),
        timed(lambda: page.as_html(analysis(report.read_runs(folder / "runs.csv")))),
    ]


def journal_of(count: int, folder: Path) -> list[str]:
    journal = wattbench("measure.protocol.journal")
    path = folder / "journal.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{journal.dumps(run)}\n" for run in made_runs(count))
    return [
        f"{path.stat().st_size / 2**20:.0f} MiB",
        timed(lambda: journal.read(path.read_bytes())),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--journal", type=int, nargs="*", default=[20_000])
    args = parser.parse_args()
    print("| runs | summary | export | one more | page |\n|---|---|---|---|---|")
    for count in args.runs:
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {count} | {' | '.join(tables_of(count, Path(folder)))} |", flush=True)
    print("\n| journal lines | size | read |\n|---|---|---|")
    for count in args.journal:
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {count} | {' | '.join(journal_of(count, Path(folder)))} |", flush=True)


if __name__ == "__main__":
    main()
