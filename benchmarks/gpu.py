"""The study's two runs on this machine's GPU, at full size and without a download.

    python benchmarks/gpu.py                    # SDXL and Z-Image Turbo, 1024 x 1024, ten repeats
    python benchmarks/gpu.py --size tiny --cpu  # the same path in a minute, on any machine
    python benchmarks/gpu.py all                # and every other script named gpu_*.py, in turn
    python benchmarks/gpu.py meters stack       # only these; options are passed on

Runs the node WattBenchBenchmark on synthetic models in this process, prints the table and writes
runs.csv, summary.csv and report.md. It needs torch, ComfyUI's folder and what ComfyUI imports;
PyAV may be missing. It changes no setting of the card.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pack import import_pack

PROMPT = "a small brown moth made of felt, holding a lit lamp"


@dataclass(frozen=True)
class StudyRun:
    """One workload of the study; ``dtype`` is that of the weights."""

    architecture: str
    dtype: str
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str


RUNS = (
    StudyRun("sdxl", "fp16", 30, 7.0, "euler", "normal"),
    StudyRun("z_image_turbo", "float8_e4m3fn", 8, 1.0, "res_multistep", "linear_quadratic"),
)
SIZES_PX = {"full": 1024, "tiny": 128}

SCRIPTS = (
    "meters",
    "overhead",
    "attention",
    "optimize",
    "quantization",
    "loading",
    "stack",
    "devices",
)
"""The scripts gpu_*.py; each fills the card with a model of its own, so it has its own process."""


def main() -> int:
    names = [name for name in sys.argv[1:] if name in (*SCRIPTS, "all")]
    if not names:
        return study()
    folder = Path(__file__).resolve().parent
    options = [option for option in sys.argv[1:] if option not in names]
    scripts = [f"gpu_{name}.py" for name in SCRIPTS if name in names or "all" in names]
    failed = 0
    for script in ["gpu.py"] * ("all" in names) + scripts:
        print(f"== {script}", flush=True)
        failed += subprocess.run([sys.executable, str(folder / script), *options]).returncode != 0
    return int(failed > 0)


def study() -> int:
    """The two runs of the study, in this process."""
    args = parse_args()
    wattbench = import_pack()
    load_comfyui = wattbench("hosts.comfyui.inprocess").load_comfyui
    find_comfyui = wattbench("hosts.remote.server").find_comfyui
    args.out.mkdir(parents=True, exist_ok=True)
    load_comfyui(find_comfyui(args.comfyui), cpu=args.cpu, base_directory=args.out / "comfyui")
    import torch

    runs: list[Any] = []
    report = wattbench("report")
    for study_run in RUNS:
        if args.only in ("", study_run.architecture):
            with torch.inference_mode():
                runs += measure(wattbench, study_run, args)
            paths = report.write_all(runs, args.out)
    print(report.summary_text(runs))
    print("\n".join(str(path) for path in paths))
    return int(any(run.error for run in runs))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", choices=SIZES_PX, default="full")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warmup-runs", type=int, default=2)
    parser.add_argument("--max-warmup-seconds", type=float, default=60.0)
    parser.add_argument("--idle-seconds", type=float, default=30.0)
    parser.add_argument("--meter", default="auto", help="as wattbench doctor lists it")
    parser.add_argument("--only", default="", choices=["", *(r.architecture for r in RUNS)])
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser.add_argument("--out", type=Path, default=Path("output") / "gpu")
    return parser.parse_args()


def measure(wattbench: Any, study_run: StudyRun, args: argparse.Namespace) -> tuple[Any, ...]:
    """The runs of one workload; its model is released afterwards."""
    dtype = study_run.dtype if args.size == "full" else "auto"
    model, clip, vae = (
        wattbench("nodes.synthetic")
        .WattBenchSyntheticModel.execute(
            architecture=study_run.architecture, size=args.size, dtype=dtype, seed=0
        )
        .result
    )
    outputs = wattbench("nodes.benchmark").WattBenchBenchmark.execute(
        model=model,
        clip=clip,
        vae=vae,
        positive=PROMPT,
        negative="",
        width=SIZES_PX[args.size],
        height=SIZES_PX[args.size],
        batch_size=1,
        seed=0,
        steps=study_run.steps,
        cfg=study_run.cfg,
        sampler_name=study_run.sampler_name,
        scheduler=study_run.scheduler,
        warmup_runs=args.warmup_runs,
        repeats=args.repeats,
        idle_seconds=args.idle_seconds,
        max_warmup_seconds=args.max_warmup_seconds,
        meter=args.meter,
    )
    import comfy.model_management

    del model, clip, vae
    comfy.model_management.unload_all_models()
    gc.collect()
    comfy.model_management.soft_empty_cache()
    return outputs.result[1]


if __name__ == "__main__":
    sys.exit(main())
