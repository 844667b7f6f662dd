"""How a fleet scales: `python benchmarks/fleet.py`.

Plans 1 000 cards of 10 000 cells each, and a queue on them; merges a million runs of 1 000 cards as
`wattbench merge` does, merges them again, and reads the cards' folders as the page does. Says how
much memory each of these took at most, in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from wattbench.fleet.cards import Card, Machine, place
from wattbench.fleet.page import as_markdown
from wattbench.fleet.queue import plan_queue
from wattbench.fleet.rows import CardRow, rows_of
from wattbench.measure.protocol.journal import dumps
from wattbench.records import (
    Condition,
    EnergyReading,
    Environment,
    Estimate,
    Phase,
    PowerSample,
    Run,
    Trace,
)
from wattbench.sharing.merge import merge
from wattbench.study.plan import CardsWanted, read_plan
from wattbench.study.schedule import blocks

CARDS, CELLS, RUNS = 1_000, 10_000, 1_000_000
PLAN = """
name = "large"
[[workload]]
workflow = "moth.json"
[axes]
steps = [STEPS]
size = [SIZES]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cards", type=int, default=CARDS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--samples", type=int, default=0, help="of power, in each run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planning(folder, args.cards)
        queue(args.cards)
        each = args.runs // args.cards
        for card in range(args.cards):
            write_card(folder / "fleet" / "cards" / f"c{card:04d}", card, each, args.samples)
        size = sum(path.stat().st_size for path in folder.glob("fleet/cards/*/runs.jsonl"))
        print(f"{args.cards * each} runs of {args.cards} cards, {size / 1e9:.2f} GB", flush=True)
        for step in (merging, merging, page):
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                print(pool.submit(measured, step, folder).result(), flush=True)


def measured(step: Callable[[Path], str], folder: Path) -> str:
    """What a step says, and what it took."""
    before, began_s = peak_bytes(), time.perf_counter()
    told = step(folder)
    took_s = time.perf_counter() - began_s
    return (
        f"{told}: {took_s:.0f} s, resident set at most {peak_bytes() / 2**20:.0f} MiB, "
        f"{before / 2**20:.0f} MiB before"
    )


def planning(folder: Path, cards: int) -> None:
    """A plan's cells, their places, and the order of the first block of each card."""
    steps = ", ".join(map(str, range(1, 101)))
    sizes = ", ".join(str(64 * n) for n in range(1, CELLS // 100 + 1))
    (folder / "moth.json").write_text("{}", "utf-8")
    path = folder / "large.toml"
    path.write_text(PLAN.replace("STEPS", steps).replace("SIZES", sizes), "utf-8")
    machines = {
        str(n): Machine(f"m{n}", (Card(f"m{n}", "RTX", f"GPU-{n}"),), "0.1.0", "")
        for n in range(cards)
    }
    began_s = time.perf_counter()
    plan = read_plan(path, folder)
    cells = plan.cells()
    placed, _ = place((CardsWanted(gpu="RTX"),), machines, Machine("here", (), "0.1.0", ""))
    order = next(blocks(cells, plan.seed))
    took_s = time.perf_counter() - began_s
    print(f"{len(placed)} cards x {len(order)} cells planned in {took_s:.2f} s")


def queue(cards: int) -> None:
    """Ten thousand images of one work on all cards under a deadline."""
    rows = [
        CardRow(
            card=f"c{n}",
            gpu="RTX",
            work="moth",
            setting="",
            seconds=estimate(0.8 + n % 7 / 10),
            joules=estimate(200.0 + n % 11),
            peak_vram_bytes=None,
            idle_power_w=20.0 + n % 3,
            meter="counter",
            run_count=5,
            visit_count=5,
        )
        for n in range(cards)
    ]
    began_s = time.perf_counter()
    plan = plan_queue(rows, {"moth": 10_000}, deadline_s=20_000 / cards)
    took_s = time.perf_counter() - began_s
    print(f"10000 images on {cards} cards in {took_s:.2f} s, gap {plan.gap:.2%}")


def merging(folder: Path) -> str:
    """What `wattbench merge` does with the cards' folders."""
    cards = sorted((folder / "fleet" / "cards").iterdir())
    found = merge(cards, folder / "merged", print)
    return f"merge: {found.run_count} runs, {found.new_count} new, {len(found.paths)} files"


def page(folder: Path) -> str:
    """What `wattbench fleet page` does with them."""
    rows = list(rows_of([folder / "fleet"]))
    return f"page: {len(rows)} rows, {len(as_markdown(rows)) / 1e6:.2f} MB"


def write_card(folder: Path, card: int, count: int, sample_count: int) -> None:
    """Runs of ten conditions on one card."""
    environment = Environment(
        gpu_name="RTX", gpu_uuid=f"GPU-{card}", compute_capability="8.6", driver="580", runtime="",
        torch="2.11.0", host="ComfyUI", host_version="", pack="0.1.0", git_commit="", python="",
        os="", cpu_name="", power_limit_w=350.0,
    )  # fmt: skip
    condition = Condition(
        architecture="sdxl", model="m", weights="file", attention="sdpa", weight_format="fp16",
        width_px=1024, height_px=1024, batch_size=1, steps=10, cfg=7.0, sampler="euler",
        scheduler="normal",
    )  # fmt: skip
    power = tuple(PowerSample(n / 20, 200.0 + n % 7) for n in range(sample_count))
    folder.mkdir(parents=True)
    with (folder / "runs.jsonl").open("w", encoding="utf-8") as file:
        for n in range(count):
            made_s = 1 + n % 10 / 10 + card / 1e4
            energy = EnergyReading(200 * made_s, made_s, "nvml:0", "gpu", "counter", 0.1, 20)
            run = Run(
                run_id=f"{card}-{n}",
                started_at=f"2026-11-20T{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}+00:00",
                condition=replace(condition, steps=10 + n % 10),
                environment=environment,
                seed=n // 10,
                visit=n // 50,
                repeat=n % 5,
                is_warmup=False,
                phases=(Phase("denoise", 0.0, made_s, energy),),
                wall_time_s=made_s,
                energy=energy,
                process_id=f"{card} {n // 50}",
                study=f"study {card}",
                cell=f"steps={10 + n % 10}",
                trace=Trace(power=power),
            )
            file.write(f"{dumps(run)}\n")


def estimate(value: float) -> Estimate:
    return Estimate(value, value, value, 0.95, 5, "", 0.0)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
