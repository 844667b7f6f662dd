"""Memory and time of loading a model and quantizing it while it loads, against core's own loader.

    python benchmarks/load_quantized.py [--format fp8] [--double-blocks 2] [--cpu] [--folder DIR]

The file is a Flux of full width and few blocks, random weights in bf16; each way runs in a process
of its own. ``anonymous`` is memory that only swapping frees; ``resident`` adds the pages of the
file that are mapped, which the system takes back when it needs them. Both are the largest seen
above what the process held before it loaded; Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from pack import import_pack

WAYS = ("core", "quantized")
WIDTH, HEADS = 3072, 24
LOOK_S = 0.005


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--format", default="fp8")
    parser.add_argument("--double-blocks", type=int, default=2, help="0.68 GB each (default: 2)")
    parser.add_argument("--width", type=int, default=WIDTH, help="multiple of 128 (default: 3072)")
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--folder", type=Path, help="where the file goes (default: temporary)")
    parser.add_argument("--way", choices=(*WAYS, "make"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way is not None:
        print(*run_way(args))
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        args.folder = Path(folder)
        (size_bytes,) = run_child("make", args)
        print(f"{args.format}, file {size_bytes / 1e9:.2f} GB; memory above the start, per file")
        for way in WAYS:
            seconds, anonymous, resident = run_child(way, args)
            print(
                f"{way:9} {seconds:6.2f} s  anonymous {anonymous / size_bytes:5.2f}"
                f"  resident {resident / size_bytes:5.2f}"
            )
    return 0


def run_child(way: str, args: argparse.Namespace) -> list[float]:
    """The numbers that a fresh process prints for one way."""
    command = [sys.executable, __file__, "--way", way, "--folder", str(args.folder)]
    command += ["--format", args.format, "--double-blocks", str(args.double_blocks)]
    command += ["--width", str(args.width), *(["--cpu"] if args.cpu else [])]
    if args.comfyui is not None:
        command += ["--comfyui", str(args.comfyui)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [float(value) for value in done.stdout.split("\n")[-2].split()]


def run_way(args: argparse.Namespace) -> list[float]:
    wattbench = import_pack()
    server = wattbench("hosts.remote.server")
    wattbench("hosts.comfyui.inprocess").load_comfyui(
        server.find_comfyui(args.comfyui), cpu=args.cpu, base_directory=args.folder
    )
    path = args.folder / "flux.safetensors"
    if args.way == "make":
        make_file(path, args.width, args.double_blocks)
        return [path.stat().st_size]
    loading = wattbench("hosts.comfyui.quantized")
    import comfy.sd

    with Watch() as watch:
        if args.way == "core":
            model = comfy.sd.load_diffusion_model(str(path))
        else:
            model = loading.load_model(str(path), loading.Request(args.format))
    del model
    return [watch.seconds, watch.anonymous_bytes, watch.resident_bytes]


def make_file(path: Path, width: int, double_blocks: int) -> None:
    """A Flux as files hold it, with one single block."""
    import comfy.ldm.flux.model
    import comfy.ops
    import torch
    from safetensors.torch import save_file

    heads = width // (WIDTH // HEADS)
    with torch.device("meta"):
        model = comfy.ldm.flux.model.Flux(
            in_channels=16, out_channels=16, patch_size=2, vec_in_dim=768, context_in_dim=4096,
            hidden_size=width, mlp_ratio=4.0, num_heads=heads, depth=double_blocks,
            depth_single_blocks=1, axes_dim=[16, 56, 56], theta=10000, qkv_bias=True,
            txt_ids_dims=[], guidance_embed=True, operations=comfy.ops.disable_weight_init,
        )  # fmt: skip
    row = torch.randn(2**20, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    tensors = {}
    for name, blank in model.state_dict().items():
        repeats = -(-blank.numel() // row.numel())
        tensors[name] = row.repeat(repeats)[: blank.numel()].reshape(blank.shape).clone()
    save_file(tensors, path)


class Watch:
    """The largest memory of this process while it is entered, above what there was before."""

    def __enter__(self) -> Watch:
        self._stop = threading.Event()
        self._before = memory_bytes()
        self.anonymous_bytes = self.resident_bytes = 0
        self._start_s = time.perf_counter()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self._start_s
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(LOOK_S):
            anonymous, mapped = memory_bytes()
            grown = anonymous - self._before[0]
            self.anonymous_bytes = max(self.anonymous_bytes, grown)
            self.resident_bytes = max(self.resident_bytes, grown + mapped - self._before[1])


def memory_bytes() -> tuple[int, int]:
    """Anonymous and mapped pages that lie in memory."""
    status = Path("/proc/self/status").read_text("ascii")
    facts = dict(line.split(":", 1) for line in status.splitlines())
    return tuple(1024 * int(facts[name].split()[0]) for name in ("RssAnon", "RssFile"))  # type: ignore[return-value]


if __name__ == "__main__":
    sys.exit(main())
