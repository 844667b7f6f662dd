"""Levers together: weight format, attention and compilation, stacked on one synthetic model.

    python benchmarks/gpu_stack.py                          # Z-Image Turbo, 1024 x 1024
    python benchmarks/gpu_stack.py --architecture sdxl --arms bf16 bf16+compile
    python benchmarks/gpu_stack.py --size tiny --cpu --arms bf16 fp8_static+sub_quadratic

An arm is a weight format, as gpu_quantization.py has them, with ``+`` and an attention backend or
``compile`` for every further lever. Arms take turns in rounds of the same seed; the first arm is
the baseline. Each sampling is timed twice: bare, by the host's clock around a synchronised
denoising, and probed, where joules come from. After every round it prints the table so far and
writes stack.csv. It changes no setting of the card.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from gpu_quantization import SIZES_PX, WORKLOADS, Bench, distance
from pack import import_pack
from probe_overhead import timed_clone

COMPILE = "compile"
ARMS = ("bf16", "bf16+auto", "fp8_static", "fp8_static+auto", "fp8_static+auto+compile")


@dataclass
class Arm:
    """One stack of levers: its model, timed from outside, and what was seen of it."""

    name: str
    model: Any
    seconds: list[float]
    bare_s: list[float] = field(default_factory=list)
    probed_s: list[float] = field(default_factory=list)
    energy_j: list[float] = field(default_factory=list)
    latents: list[Any] = field(default_factory=list)
    executed: str = ""


def main() -> int:
    args = parse_args()
    wattbench = import_pack()
    args.out.mkdir(parents=True, exist_ok=True)
    wattbench("hosts.comfyui.inprocess").load_comfyui(
        wattbench("hosts.remote.server").find_comfyui(args.comfyui),
        cpu=args.cpu,
        base_directory=args.out / "comfyui",
    )
    import torch

    with torch.inference_mode():
        bench = Bench.of(wattbench, args.architecture, args)
        arms = [warmed(bench, make(bench, name)) for name in args.arms]
        for seed in range(args.rounds):
            for arm in arms if seed % 2 else reversed(arms):
                measure(bench, arm, seed)
            table = pd.DataFrame([row(bench, arms[0], arm) for arm in arms])
            table.to_csv(args.out / "stack.csv", index=False)
            print(f"round {seed + 1}\n{table.to_string(index=False)}", flush=True)
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--architecture", choices=WORKLOADS, default="z_image_turbo")
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--size", choices=SIZES_PX, default="full")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--meter", default="auto", help="as wattbench doctor lists it")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser.add_argument("--out", type=Path, default=Path("output") / "gpu_stack")
    return parser.parse_args()


def make(bench: Bench, name: str) -> Arm:
    """The model of an arm: the weights first, then attention, then compilation."""
    wattbench = bench.wattbench
    weight_format, *levers = name.split("+")
    model = bench.model(weight_format)
    if weight_format == "fp8_static":
        bench.calibrate(model)
    for lever in levers:
        if lever == COMPILE:
            node = wattbench("nodes.optimize").WattBenchCompile
            (model,) = node.execute(model, mode="reduce-overhead", dynamic="auto").result
        else:
            node = wattbench("nodes.attention").WattBenchAttentionBackend
            settings = {"strict": False, "max_error": 0.05, "timed": False}
            model, _ = node.execute(model, backend=lever, **settings).result
    return Arm(name, *timed_clone(model))


def warmed(bench: Bench, arm: Arm) -> Arm:
    """Sampled twice: kernels are chosen and compiled, and what came of that is at rest."""
    for seed in range(2):
        bench.sample(arm.model, seed)
    print(f"{arm.name}: first sampling {arm.seconds[0]:.2f} s, second {arm.seconds[1]:.2f} s")
    return arm


def measure(bench: Bench, arm: Arm, seed: int) -> None:
    """One sampling bare, and the same one probed."""
    observation = bench.wattbench("measure.protocol.observation")
    host = bench.wattbench("hosts.comfyui.host").HOST
    probe = observation.Probe()
    arm.latents.append(bench.sample(arm.model, seed))
    arm.bare_s.append(arm.seconds[-1])
    observed = bench.wattbench("hosts.comfyui.sampling").observe_sampling(
        arm.model,
        lambda facts, seed: observation.observe(
            host, probe, arm.model.load_device, bench.args.meter, facts, seed
        ),
    )
    bench.sample(observed, seed)
    arm.probed_s.append(arm.seconds[-1])
    recording = probe.observations[0].recording
    denoise = next(phase for phase in recording.phases if phase.name == "denoise")
    if denoise.energy is not None:
        arm.energy_j.append(denoise.energy.energy_j)
    arm.executed = "; ".join(f"{c.executed}: {c.call_count}" for c in recording.kernel_calls)


def row(bench: Bench, baseline: Arm, arm: Arm) -> dict[str, Any]:
    """Speed from the bare samplings; ratios are paired by seed, with their 95 % intervals."""
    ratio = bench.wattbench("stats").paired_ratio

    def compared(first: list[float], second: list[float]) -> str:
        if len(first) < 2 or len(first) != len(second):
            return ""
        found = ratio(first, second).ratio
        return f"{found.value:.3f} [{found.ci_low:.3f}, {found.ci_high:.3f}]"

    return {
        "arm": arm.name,
        "it/s": f"{bench.workload.steps / fmean(arm.bare_s):.2f}",
        "× it/s": compared(arm.bare_s, baseline.bare_s),
        "J": f"{fmean(arm.energy_j):.1f}" if arm.energy_j else "",
        "× J": compared(baseline.energy_j, arm.energy_j),
        "time probed / bare": compared(arm.bare_s, arm.probed_s),
        "latent distance": f"{distance(arm.latents, baseline.latents):.4f}",
        "executed": arm.executed,
    }


if __name__ == "__main__":
    sys.exit(main())
