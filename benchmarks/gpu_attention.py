"""Attention backends end to end: synthetic SDXL and Z-Image Turbo, sampled with each of them.

    python benchmarks/gpu_attention.py                    # 1024 x 1024, five rounds
    python benchmarks/gpu_attention.py --only sdxl --steps 8 --rounds 24 --compile
    python benchmarks/gpu_attention.py --size tiny --cpu  # the same path in a minute, anywhere

Only the denoiser runs: prompts are encoded once and nothing is decoded. Every arm samples once with
one seed, which is its warm-up and gives the latent that is compared with that of sdpa_math; then
all take turns, in rounds. An arm that took twice as long as the fastest in the first round gets no
other.

`stock` is ComfyUI as it comes, with its PyTorch attention. `stock NAME` is ComfyUI started with the
flag of another of its functions (`sage`: --use-sage-attention): a bare override calls the function,
because models have bound the flag's when they were imported. `--compile` adds arms that the node
Compile compiles: stock, stock in channels_last, and auto.

Prints a table for each model, with the seconds of every arm over those of `stock`, and `auto` over
the best single backend and over the best of ComfyUI's own: medians of the ratios of a round, with a
95 % bootstrap interval. Writes runs.csv and table.csv.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu import PROMPT, RUNS, SIZES_PX, StudyRun
from pack import import_pack

STOCK, AUTO = "stock", "auto"
COMPILED, FORMAT = " + compile", " + channels_last"
FLAGS = ("sage", "flash", "xformers")
"""ComfyUI's own attention functions that a flag makes its global choice, where installed."""

REFERENCE = "sdpa_math"
SLOW = 2.0
"""A first round this many times as long as the fastest leaves an arm no other."""


@dataclass
class Arm:
    """A backend: its model, and what was seen of it."""

    name: str
    model: Any
    warm_up_s: float = 0.0
    latent: Any = None
    runs: list[Any] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    wattbench = import_pack()
    folder = wattbench("hosts.remote.server").find_comfyui(args.comfyui)
    args.out.mkdir(parents=True, exist_ok=True)
    wattbench("hosts.comfyui.inprocess").load_comfyui(
        folder, cpu=args.cpu, base_directory=args.out / "comfyui"
    )
    import pandas as pd
    import torch

    rows: list[dict[str, Any]] = []
    runs: list[Any] = []
    for study_run in RUNS:
        if args.only in ("", study_run.architecture):
            with torch.inference_mode():
                arms = measure(wattbench, study_run, args)
            rows += [row_of(study_run, arm, arms) for arm in arms if arm.runs]
            runs += [run for arm in arms for run in arm.runs]
            report(wattbench, study_run, arms, rows)
            arms.clear()
            release()
    wattbench("report").runs_frame(runs).to_csv(args.out / "runs.csv", index=False)
    pd.DataFrame(rows).to_csv(args.out / "table.csv", index=False)
    print(f"{args.out / 'runs.csv'}\n{args.out / 'table.csv'}")
    return 0


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", choices=SIZES_PX, default="full")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0, help="of each sampling; 0: the study's")
    parser.add_argument("--meter", default="auto", help="as wattbench doctor lists it")
    parser.add_argument("--only", default="", choices=["", *(r.architecture for r in RUNS)])
    parser.add_argument("--backends", nargs="*", help="leave out the others")
    parser.add_argument("--compile", action="store_true", help="stock and auto compiled, too")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser.add_argument("--out", type=Path, default=Path("output") / "gpu_attention")
    return parser.parse_args(arguments)


def measure(wattbench: Any, study_run: StudyRun, args: argparse.Namespace) -> list[Arm]:
    """Warm-ups, then rounds in which the arms take turns, in an order of each round's own."""
    dtype = study_run.dtype if args.size == "full" else "auto"
    model, clip, _ = wattbench("hosts.comfyui.synthetic").build(
        study_run.architecture, args.size, dtype, 0
    )
    run_core = wattbench("hosts.comfyui.core").run_core
    size = {"width": SIZES_PX[args.size], "height": SIZES_PX[args.size], "batch_size": 1}
    inputs = {
        "positive": run_core("CLIPTextEncode", clip=clip, text=PROMPT)[0],
        "negative": run_core("CLIPTextEncode", clip=clip, text="")[0],
        "latent_image": run_core("EmptyLatentImage", **size)[0],
        "steps": args.steps or study_run.steps,
        "cfg": study_run.cfg,
        "sampler_name": study_run.sampler_name,
        "scheduler": study_run.scheduler,
    }
    arms = make_arms(wattbench, model, args)
    device, host = model.load_device, wattbench("hosts.comfyui.host").HOST
    with wattbench("measure.protocol.observation").open_instrument(
        host, device, args.meter
    ) as opened:
        for arm in arms:
            sample(wattbench, arm, inputs, opened, is_warmup=True)
            print(f"{study_run.architecture} {arm.name}: warm-up {arm.warm_up_s:.2f} s", flush=True)
        for repeat in range(args.rounds):
            for arm in random.Random(repeat).sample(arms, len(arms)):
                if repeat == 0 or first_s(arm) < SLOW * min(map(first_s, arms)):
                    sample(wattbench, arm, inputs, opened, repeat=repeat)
            seconds = (f"{arm.name} {median_seconds(arm):.3f} s" for arm in arms)
            print(f"round {repeat + 1}, median denoise: {', '.join(seconds)}", flush=True)
    return arms


def make_arms(wattbench: Any, model: Any, args: argparse.Namespace) -> list[Arm]:
    """Stock with each of its flags, ``auto``, and every backend that this machine has."""
    from comfy.ldm.modules.attention import REGISTERED_ATTENTION_FUNCTIONS as OWN

    attention = wattbench("hosts.comfyui.attention")
    ledgers = wattbench("hosts.comfyui.ledgers")
    offers = wattbench("attention").offers(wattbench("offer").machine_of(model.load_device))
    choices = wattbench("attention.choices").Choices(args.out / "attention.json")
    stock = model.clone()
    # The same kinds of attachment keep ComfyUI from loading the weights anew for each arm.
    stock.set_attachments(ledgers.KEY, ledgers.Ledgers())
    arms = [Arm(STOCK, stock)]
    for name in [flag for flag in FLAGS if flag in OWN]:
        flagged = stock.clone()
        options = flagged.model_options.setdefault("transformer_options", {})
        options[attention.OVERRIDE] = bare(OWN[name].__wrapped__)
        arms.append(Arm(f"{STOCK} {name}", flagged))
    for name in (AUTO, *(offer.name for offer in offers if offer.available)):
        setting = attention.Setting(name)
        arms.append(Arm(name, attention.choose_attention(model, setting, choices)))
    if args.backends is not None:
        arms = [arm for arm in arms if arm.name == STOCK or arm.name in args.backends]
    if args.compile:
        compile_model = wattbench("hosts.comfyui.compile").compile_model
        use_channels_last = wattbench("hosts.comfyui.memory_format").use_channels_last
        chosen = [arm for arm in arms if arm.name in (STOCK, AUTO)]
        chosen.append(Arm(STOCK + FORMAT, use_channels_last(stock)))
        arms += [Arm(arm.name + COMPILED, compile_model(arm.model)) for arm in chosen]
    return arms


def bare(function: Any) -> Any:
    """An override that does no more than call another of ComfyUI's attention functions."""

    def override(_: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return override


def sample(
    wattbench: Any,
    arm: Arm,
    inputs: dict[str, Any],
    opened: tuple[Any, Any],
    *,
    repeat: int = 0,
    is_warmup: bool = False,
) -> None:
    """One measured sampling; a warm-up samples once before, unmeasured, for its latent."""
    instrument, environment = opened
    run_core = wattbench("hosts.comfyui.core").run_core
    if is_warmup:
        (latent,) = run_core("KSampler", model=arm.model, seed=0, denoise=1.0, **inputs)
        arm.latent = latent["samples"].float().cpu()
    facts: dict[str, Any] = {}
    with instrument.record() as (window, recording):

        def observe(seen: dict[str, Any], seed: int | None) -> Any:
            facts.update(seen)
            return nullcontext(window)

        observed = wattbench("hosts.comfyui.sampling").observe_sampling(arm.model, observe)
        run_core("KSampler", model=observed, seed=repeat, denoise=1.0, **inputs)
    records = wattbench("records")
    unknown = wattbench("measure.protocol.observation").UNKNOWN
    runs = wattbench("measure.recording.runs")
    condition = records.Condition(**{**unknown, **facts, "attention": arm.name})
    planned = runs.new_run(
        condition, environment, seed=repeat, visit=1, repeat=repeat, is_warmup=is_warmup
    )
    run = runs.measured_run(planned, [recording])
    if is_warmup:
        arm.warm_up_s = denoise_of(run).duration_s
    else:
        arm.runs.append(run)


def first_s(arm: Arm) -> float:
    """Seconds of denoising in the first round."""
    return float(denoise_of(arm.runs[0]).duration_s)


def denoise_of(run: Any) -> Any:
    return next(phase for phase in run.phases if phase.name == "denoise")


def row_of(study_run: StudyRun, arm: Arm, arms: list[Arm]) -> dict[str, Any]:
    """A line of the table; medians over the rounds."""
    phases = [denoise_of(run) for run in arm.runs]
    energies = [phase.energy.energy_j for phase in phases if phase.energy is not None]
    seconds = statistics.median(phase.duration_s for phase in phases)
    by_name = {other.name: other for other in arms}
    reference = by_name.get(REFERENCE, arm).latent
    difference = (arm.latent - reference).norm() / reference.norm()
    peaks = [run.allocator_peak_bytes for run in arm.runs if run.allocator_peak_bytes]
    calls = arm.runs[-1].kernel_calls
    return {
        "architecture": study_run.architecture,
        "backend": arm.name,
        "n": len(phases),
        "it_per_s": arm.runs[-1].condition.steps / seconds,
        "denoise_s": seconds,
        "over_stock": in_words(over(arm, by_name[STOCK])),
        "denoise_j": statistics.median(energies) if energies else None,
        "peak_allocated_gib": max(peaks) / 2**30 if peaks else None,
        f"latent_error_to_{REFERENCE}": float(difference),
        "executed": "; ".join(f"{c.executed}: {c.call_count}" for c in calls),
        "fallbacks": "; ".join(f"{c.call_count}: {c.reason}" for c in calls if c.reason),
    }


def report(wattbench: Any, study_run: StudyRun, arms: list[Arm], rows: list[Any]) -> None:
    """Print the table of one model, what ``auto`` chose, and its paired ratios."""
    import pandas as pd

    table = pd.DataFrame([row for row in rows if row["architecture"] == study_run.architecture])
    with pd.option_context("display.width", 250, "display.max_columns", None):
        print(table.drop(columns="architecture").to_string(index=False, float_format="%.5g"))
    by_name = {arm.name: arm for arm in arms}
    auto = by_name.get(AUTO)
    if auto is None:
        return
    override = wattbench("hosts.comfyui.attention").override_of(auto.model)
    for label, decision in override.decisions.items():
        print(f"  {label}: {decision}")
    plain = [arm for arm in arms if len(arm.runs) > 1 and not arm.name.endswith(COMPILED)]
    own = [arm for arm in plain if arm.name.startswith(STOCK)]
    singles = [
        arm
        for arm in plain
        if arm is not auto
        and arm not in own
        and not any(calls.reason for calls in arm.runs[-1].kernel_calls)
    ]
    pairs = [(auto, min(group, key=median_seconds)) for group in (own, singles) if group]
    if AUTO + COMPILED in by_name:
        pairs.append((by_name[AUTO + COMPILED], by_name[STOCK + COMPILED]))
    for arm, other in pairs:
        print(f"seconds of {arm.name} over {other.name}: {in_words(over(arm, other))}", flush=True)


def over(arm: Arm, other: Arm) -> tuple[float, float, float] | None:
    """Seconds of an arm over those of another: the median of the rounds' ratios, and its interval.

    A sampling that something else disturbed moves a mean and not a median. ``None`` for one round.
    """
    import numpy as np
    from scipy.stats import bootstrap

    if len(arm.runs) != len(other.runs) or len(arm.runs) < 2:
        return None
    ratios = np.array(
        [
            denoise_of(run).duration_s / denoise_of(baseline).duration_s
            for run, baseline in zip(arm.runs, other.runs, strict=True)
        ]
    )
    if np.ptp(ratios) == 0:
        return float(ratios[0]), float(ratios[0]), float(ratios[0])
    found = bootstrap((ratios,), np.median, method="percentile", rng=0).confidence_interval
    return float(np.median(ratios)), float(found.low), float(found.high)


def in_words(ratio: tuple[float, float, float] | None) -> str:
    return "" if ratio is None else "{:.4f} [{:.4f}, {:.4f}]".format(*ratio)


def median_seconds(arm: Arm) -> float:
    return statistics.median(denoise_of(run).duration_s for run in arm.runs)


def release() -> None:
    """Give back the memory of a model that is no longer used."""
    import comfy.model_management

    comfy.model_management.unload_all_models()
    gc.collect()
    comfy.model_management.soft_empty_cache()


if __name__ == "__main__":
    sys.exit(main())
