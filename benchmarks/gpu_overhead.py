"""What measuring costs on a GPU: denoising under an instrument, over denoising without.

    python benchmarks/gpu_overhead.py                          # about three minutes
    python benchmarks/gpu_overhead.py --size tiny --cpu --meter estimate

Z-Image Turbo in fp8_static, which waits for the host more than most. The instrument is opened for
one sampling, as twins and probes do, by a process that has never seen its counter tick (stranger)
or that has (known), or it has been open for a while, as Benchmark's (kept). Arms take turns in
rounds of the same seed. Prints and writes overhead.csv: ratio of times to bare, how often the
counter was read while the sampling was recorded, and how well its ticks are timed. It changes no
setting of the card.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from gpu_quantization import SIZES_PX, Bench
from pack import import_pack
from probe_overhead import timed_clone

BARE, STRANGER, KNOWN, KEPT = "bare", "stranger", "known", "kept"
ARMS = (BARE, STRANGER, KNOWN, KEPT)
SETTLED_S = 1.5
"""So long an instrument that is kept has been open."""


@dataclass
class Arm:
    """What was seen of one way to measure, a value a round; reads are of the counter."""

    name: str
    seconds: list[float] = field(default_factory=list)
    reads_per_s: list[float] = field(default_factory=list)
    tick_error_s: list[float] = field(default_factory=list)


def main() -> int:
    args = parse_args()
    wattbench = import_pack()
    args.out.mkdir(parents=True, exist_ok=True)
    folder = wattbench("hosts.remote.server").find_comfyui(args.comfyui)
    base = args.out / "comfyui"
    wattbench("hosts.comfyui.inprocess").load_comfyui(folder, cpu=args.cpu, base_directory=base)
    import torch

    arms = [Arm(name) for name in ARMS]
    with torch.inference_mode():
        bench = Bench.of(wattbench, "z_image_turbo", args)
        model = bench.model("fp8_static")
        bench.calibrate(model)
        model, seconds = timed_clone(model)
        host = wattbench("host").Script(Path())
        for seed in range(-1, args.rounds):
            for arm in arms if seed % 2 else reversed(arms):
                sample(bench, model, max(seed, 0), arm, host)
                if seed < 0:
                    arm.reads_per_s.clear()
                    arm.tick_error_s.clear()
                else:
                    arm.seconds.append(seconds[-1])
    table = pd.DataFrame([row(wattbench, arms[0], arm) for arm in arms])
    table.to_csv(args.out / "overhead.csv", index=False)
    print(table.to_string(index=False))
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", choices=SIZES_PX, default="full")
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--meter", default="auto", help="as wattbench doctor lists it")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser.add_argument("--out", type=Path, default=Path("output") / "gpu_overhead")
    return parser.parse_args()


def sample(bench: Bench, model: Any, seed: int, arm: Arm, host: Any) -> None:
    """One sampling as the arm says; what is seen of the counter is noted."""
    if arm.name == BARE:
        bench.sample(model, seed)
        return
    wattbench = bench.wattbench
    observe_sampling = wattbench("hosts.comfyui.sampling").observe_sampling
    if arm.name == STRANGER:
        host = wattbench("host").Script(Path())
    opened = wattbench("measure.protocol.observation").open_instrument(
        host, model.load_device, bench.args.meter
    )
    with opened as (instrument, _):
        if arm.name == KEPT:
            time.sleep(SETTLED_S)
        with counted(instrument.meter) as reads, instrument.record() as (window, recording):
            began_s = time.perf_counter()
            always = nullcontext(window)
            bench.sample(observe_sampling(model, lambda facts, seed: always), seed)
            read_count, took_s = len(reads), time.perf_counter() - began_s
    arm.reads_per_s.append(read_count / took_s)
    arm.tick_error_s.append(recording.trace.tick_error_s)


@contextmanager
def counted(meter: Any) -> Iterator[list[float]]:
    """A list that grows by one with every read of the counter; empty where there is no meter."""
    reads: list[float] = []
    if meter is None:
        yield reads
        return
    read = meter.read_energy_j

    def noted() -> Any:
        reads.append(time.perf_counter())
        return read()

    meter.read_energy_j = noted
    try:
        yield reads
    finally:
        meter.read_energy_j = read


def row(wattbench: Any, bare: Arm, arm: Arm) -> dict[str, Any]:
    """Ratios are paired by seed, with their 95 % interval."""
    ratio = ""
    if arm is not bare and len(bare.seconds) > 1:
        found = wattbench("stats").paired_ratio(bare.seconds, arm.seconds).ratio
        ratio = f"{found.value:.3f} [{found.ci_low:.3f}, {found.ci_high:.3f}]"
    return {
        "arm": arm.name,
        "seconds": f"{fmean(arm.seconds):.3f}",
        "time / bare": ratio,
        "counter reads a second": f"{fmean(arm.reads_per_s):.1f}" if arm.reads_per_s else "",
        "tick error, ms": f"{1e3 * fmean(arm.tick_error_s):.2f}" if arm.tick_error_s else "",
    }


if __name__ == "__main__":
    sys.exit(main())
