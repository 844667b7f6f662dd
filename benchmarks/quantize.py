"""Speed and memory of converting a model file, against a copy and against a whole-model script.

    python benchmarks/quantize.py [--gb 4] [--format fp8] [--threads 2] [--repeats 3] [--folder DIR]

Each way runs in a process of its own, the ways in turn. ``copy`` reads the file with safetensors
and saves it again; ``whole`` does as conversion scripts do: it loads the model, quantizes every
layer, and saves the result; ``stream`` is `wattbench quantize`. All end with the file on the disk.
Goals: ``stream`` at least half as fast as ``copy`` for fp8, and at most a quarter of the memory of
``whole``. Memory is the process's peak, Python and torch included; Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pack import import_pack

WAYS = ("copy", "whole", "stream")
LAYER = (3072, 12288)
"""Of Flux's feed-forward; 75 MB in bf16."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--gb", type=float, default=4.0, help="size of the source (default: 4)")
    parser.add_argument("--format", default="fp8")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files go (default: temporary)")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way is not None:
        print(*measure(args.way, args.folder, args.format, args.threads))
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        size_bytes = make_source(Path(folder) / "source.safetensors", args.gb)
        results: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(args.repeats):
            for way in WAYS:
                results[way].append(run_child(way, Path(folder), args))
    return report(results, size_bytes, args)


def make_source(path: Path, size_gb: float) -> int:
    """A file of normal weights in bf16, a layer at a time; returns its bytes."""
    import torch

    header_of = import_pack()("quant.files").header_of
    nbytes = 2 * LAYER[0] * LAYER[1]
    count = max(1, round(size_gb * 1e9 / nbytes))
    names = [f"blocks.{i}.mlp.weight" for i in range(count)]
    random = torch.Generator().manual_seed(0)
    layer = torch.randn(LAYER, generator=random).to(torch.bfloat16)
    with path.open("wb") as file:
        file.write(header_of(dict.fromkeys(names, ("BF16", LAYER, nbytes)), {}))
        for _ in names:
            file.write(layer.view(torch.uint8).numpy().data)
        os.fsync(file.fileno())
    return path.stat().st_size


def run_child(way: str, folder: Path, args: argparse.Namespace) -> tuple[float, float]:
    """Seconds and peak bytes of one way, in a fresh process."""
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    command += ["--format", args.format, "--threads", str(args.threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), float(peak)


def measure(way: str, folder: Path, name: str, threads: int) -> tuple[float, int]:
    """Do it once; returns seconds, imports left out, and the process's peak bytes."""
    import safetensors.torch
    import torch

    wattbench = import_pack()
    convert = wattbench("quant.convert")
    torch.set_num_threads(threads)
    source, target = folder / "source.safetensors", folder / f"{way}.safetensors"
    weight_format = wattbench("quant.formats").find(name)
    weight_format.quantize(torch.ones(256, 256))  # imports what the format needs
    start_s = time.perf_counter()
    if way == "stream":
        convert.convert_file(source, target, convert.Request(weight_format))
    else:
        tensors = safetensors.torch.load_file(source)
        if way == "whole":
            tensors = {
                f"{key.removesuffix('weight')}{suffix}": tensor
                for key, weight in tensors.items()
                for suffix, tensor in weight_format.quantize(weight).items()
            }
        safetensors.torch.save_file(tensors, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())
    seconds = time.perf_counter() - start_s
    target.unlink()
    return seconds, peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has held (VmHWM)."""
    status = Path("/proc/self/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def report(
    results: dict[str, list[tuple[float, float]]], size_bytes: int, args: argparse.Namespace
) -> int:
    """Print the best time and the largest peak of each way; 1 if a goal was missed."""
    best = {way: min(seconds for seconds, _ in runs) for way, runs in results.items()}
    peak = {way: max(peak for _, peak in runs) for way, runs in results.items()}
    print(f"{args.format}, source {size_bytes / 1e9:.2f} GB, {args.threads} threads of torch")
    for way in WAYS:
        print(f"{way:7} {size_bytes / 1e9 / best[way]:6.3f} GB/s  peak {peak[way] / 1e9:6.3f} GB")
    speed, memory = best["copy"] / best["stream"], peak["stream"] / peak["whole"]
    print(f"stream / copy: {speed:.2f} × the speed (goal for fp8: at least 0.5)")
    print(f"stream / whole: {memory:.2f} × the memory (goal: at most 0.25)")
    return int(args.format == "fp8" and (speed < 0.5 or memory > 0.25))


if __name__ == "__main__":
    sys.exit(main())
