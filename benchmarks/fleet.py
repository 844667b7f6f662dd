"""How a fleet scales: `python benchmarks/fleet.py`.

Plans 1 000 cards of 10 000 cells each, and a queue on them; reads a million runs of 1 000 cards as
the page does, and says how much memory that took at most.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from wattbench.fleet.cards import Card, Machine, place
from wattbench.fleet.page import as_markdown
from wattbench.fleet.queue import plan_queue
from wattbench.fleet.rows import CardRow, rows_of
from wattbench.measure.protocol.journal import dumps
from wattbench.records import Condition, EnergyReading, Environment, Estimate, Phase, Run
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
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        planning(Path(folder), args.cards)
        queue(args.cards)
        merging(Path(folder), args.cards, args.runs)


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


def merging(folder: Path, cards: int, runs: int) -> None:
    """Rows of the page from the journals of all cards."""
    each = runs // cards
    for card in range(cards):
        write_card(folder / "cards" / f"c{card:04d}", card, each)
    size = sum(path.stat().st_size for path in folder.glob("cards/*/runs.jsonl"))
    before = peak_bytes()
    began_s = time.perf_counter()
    rows = list(rows_of([folder]))
    page = as_markdown(rows)
    took_s = time.perf_counter() - began_s
    print(
        f"{cards * each} runs ({size / 1e9:.2f} GB) of {cards} cards in {took_s:.0f} s: "
        f"{len(rows)} rows, a page of {len(page) / 1e6:.2f} MB; resident set at most "
        f"{peak_bytes() / 2**20:.0f} MiB, {before / 2**20:.0f} MiB before"
    )


def write_card(folder: Path, card: int, count: int) -> None:
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
            )
            file.write(f"{dumps(run)}\n")


def estimate(value: float) -> Estimate:
    return Estimate(value, value, value, 0.95, 5, "", 0.0)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
