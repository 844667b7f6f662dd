"""What channels_last and torch.compile gain on SDXL, against stock ComfyUI on the same card.

    python benchmarks/gpu_optimize.py                       # SDXL, fp16, 1024 x 1024, 30 steps
    python benchmarks/gpu_optimize.py --size tiny --cpu --only stock channels_last

Runs the node WattBenchBenchmark on one synthetic SDXL in this process, once for each arm with the
same seeds, and prints the table: it/s, J/img, peak VRAM and the ratios to stock. Apart from it:
seconds to compile, and the relative error of the final latent. It changes no setting of the card.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu import PROMPT, SIZES_PX
from pack import import_pack

MODES = {
    "compile": "default",
    "reduce_overhead": "reduce-overhead",
    "max_autotune": "max-autotune-no-cudagraphs",
}
FORMAT = "channels_last"
ARMS = ("stock", FORMAT, *MODES, *(f"{mode}+{FORMAT}" for mode in MODES))
SETTINGS = {"cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"}


def main() -> int:
    args = parse_args()
    wattbench = import_pack()
    load_comfyui = wattbench("hosts.comfyui.inprocess").load_comfyui
    find_comfyui = wattbench("hosts.remote.server").find_comfyui
    args.out.mkdir(parents=True, exist_ok=True)
    load_comfyui(find_comfyui(args.comfyui), cpu=args.cpu, base_directory=args.out / "comfyui")
    import torch

    dtype = "fp16" if args.size == "full" and not args.cpu else "auto"
    logging.getLogger().setLevel(logging.INFO)
    runs: list[Any] = []
    report = wattbench("report")
    with torch.inference_mode():
        models = wattbench("hosts.comfyui.synthetic").build("sdxl", args.size, dtype, 0)
        stock = None
        for arm in args.only:
            changed = change(wattbench, models, arm)
            first_s, latent = timed_sample(wattbench, changed, args)
            second_s, latent = timed_sample(wattbench, changed, args)
            print(f"{arm}: first sampling {first_s:.1f} s, second {second_s:.2f} s")
            if arm == "stock":
                stock = latent
            if stock is not None:
                error = float((latent - stock).norm() / stock.norm())
                print(f"{arm}: relative error of the final latent {error:.2e}")
            runs += measure(wattbench, changed, args)
            report.write_all(runs, args.out)
            print(report.summary_text(runs), flush=True)
    return int(any(run.error for run in runs))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--size", choices=SIZES_PX, default="full")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warmup-runs", type=int, default=1)
    parser.add_argument("--meter", default="auto", help="as wattbench doctor lists it")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser.add_argument("--out", type=Path, default=Path("output") / "gpu_optimize")
    return parser.parse_args()


def change(wattbench: Callable[[str], Any], models: Any, arm: str) -> Any:
    """The models of one arm: clones that share the stock model's weights."""
    formats, compiler = wattbench("hosts.comfyui.memory_format"), wattbench("hosts.comfyui.compile")
    model, clip, vae = models
    mode, _, memory_format = arm.rpartition("+")
    if memory_format == FORMAT:
        model, vae = formats.use_channels_last(model), formats.use_channels_last_vae(vae)
    if (mode or arm) in MODES:
        model = compiler.compile_model(model, MODES[mode or arm])
    return models._replace(model=model, clip=clip, vae=vae)


def timed_sample(
    wattbench: Callable[[str], Any], models: Any, args: argparse.Namespace
) -> tuple[float, Any]:
    """Seconds, and the final latent of seed 0, ``[1, 4, height / 8, width / 8]``, on the CPU."""
    start_s = time.perf_counter()
    run_core = wattbench("hosts.comfyui.core").run_core
    positive, negative = (
        run_core("CLIPTextEncode", clip=models.clip, text=text)[0] for text in (PROMPT, "")
    )
    side = SIZES_PX[args.size]
    (latent,) = run_core("EmptyLatentImage", width=side, height=side, batch_size=1)
    (samples,) = run_core(
        "KSampler",
        model=models.model,
        seed=0,
        steps=args.steps,
        positive=positive,
        negative=negative,
        latent_image=latent,
        **SETTINGS,
    )
    final = samples["samples"].float().cpu()
    return time.perf_counter() - start_s, final


def measure(
    wattbench: Callable[[str], Any], models: Any, args: argparse.Namespace
) -> tuple[Any, ...]:
    return (
        wattbench("nodes.benchmark")
        .WattBenchBenchmark.execute(
            **models._asdict(),
            positive=PROMPT,
            negative="",
            width=SIZES_PX[args.size],
            height=SIZES_PX[args.size],
            batch_size=1,
            seed=0,
            steps=args.steps,
            **SETTINGS,
            warmup_runs=args.warmup_runs,
            repeats=args.repeats,
            idle_seconds=0.0,
            meter=args.meter,
        )
        .result[1]
    )


if __name__ == "__main__":
    sys.exit(main())
