"""Every attention backend on the shapes of SDXL and Z-Image at 1024 x 1024: one table.

    python benchmarks/attention.py                                   # the GPU, bf16
    python benchmarks/attention.py --device cpu --scale 16 --meter estimate

Needs torch and neither ComfyUI nor a model. Gives seconds and joules of a call, peak memory above
the inputs (CUDA and ROCm only), and the relative RMS error against fp32; a backend that cannot run
a shape has the reason in its row. ``--scale`` divides the numbers of tokens, for slow devices; the
table names the shapes that ran. Writes attention.csv. It changes no setting of the card.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pack import import_pack


class Shape(NamedTuple):
    """One kind of attention call: ``batch`` 2 is CFG."""

    name: str
    batch: int
    heads: int
    q_len: int
    kv_len: int
    head_dim: int


SHAPES = (
    Shape("SDXL self, 64 x 64", 2, 10, 4096, 4096, 64),
    Shape("SDXL self, 32 x 32", 2, 20, 1024, 1024, 64),
    Shape("SDXL cross, 64 x 64", 2, 10, 4096, 77, 64),
    Shape("SDXL cross, 32 x 32", 2, 20, 1024, 77, 64),
    Shape("Z-Image joint", 1, 30, 4128, 4128, 128),
)
COLUMNS = (
    "shape",
    "size",
    "dtype",
    "backend",
    "duration_s",
    "energy_j",
    "energy_meter",
    "energy_note",
    "peak_bytes",
    "relative_error",
    "refused",
)
WARM_UP_CALLS = 3


def main() -> int:
    args = parse_args()
    wattbench = import_pack()
    import torch

    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    rows: list[dict[str, Any]] = []
    device_id = wattbench("measure.recording.environment").identify(device)
    instrument_class = wattbench("measure.recording.instrument").Instrument
    with torch.inference_mode(), instrument_class(device, device_id, args.meter) as instrument:
        for shape in SHAPES:
            tensors = make_tensors(shape, args, device)
            for backend in wattbench("attention").BACKENDS:
                if not args.only or backend.name in args.only:
                    found = measure(wattbench, backend, tensors, instrument, args.seconds)
                    size = "x".join(map(str, (*tensors[0].shape[:3], *tensors[1].shape[2:])))
                    identity = {"shape": shape.name, "size": size, "dtype": args.dtype}
                    rows.append({**identity, "backend": backend.name, **found})
                    print(as_text(rows[-1]), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "attention.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(args.out / "attention.csv")
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--device", default="", help="as torch names it; the GPU if there is one")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--scale", type=int, default=1, help="divides the numbers of tokens")
    parser.add_argument("--seconds", type=float, default=1.0, help="of calls, for each backend")
    parser.add_argument("--only", nargs="+", default=[], help="names of backends")
    parser.add_argument("--meter", default="auto", help="as wattbench doctor lists it")
    parser.add_argument("--out", type=Path, default=Path("output") / "attention")
    return parser.parse_args()


def make_tensors(shape: Shape, args: argparse.Namespace, device: Any) -> tuple[Any, Any, Any]:
    """Normal q, k and v in the layout HND; text tokens are not divided."""
    import torch

    text = min(shape.kv_len, 77)
    lengths = [shape.q_len // args.scale, max(shape.kv_len // args.scale, text)]
    generator = torch.Generator("cpu").manual_seed(0)
    q, k, v = (
        torch.randn((shape.batch, shape.heads, length, shape.head_dim), generator=generator)
        for length in (lengths[0], lengths[1], lengths[1])
    )
    kind = getattr(torch, args.dtype)
    return q.to(device, kind), k.to(device, kind), v.to(device, kind)


def measure(
    wattbench: Callable[[str], Any], backend: Any, tensors: Any, instrument: Any, seconds: float
) -> dict[str, Any]:
    """The cells of one backend on one shape, by their columns."""
    q, k, v = tensors
    call = wattbench("attention").AttentionCall.of(wattbench("offer").machine_of(q.device), q, k)
    refused = backend.supports(call)
    if refused:
        return {"refused": refused}
    try:
        start_s = time.perf_counter()
        for _ in range(WARM_UP_CALLS):
            out = backend(q, k, v)
        error = wattbench("attention.accuracy").relative_error(out, q, k, v)
        each_s = (time.perf_counter() - start_s) / WARM_UP_CALLS
        with instrument.record() as (window, recording):
            calls = run_calls(backend, tensors, window, seconds, each_s)
    except wattbench("attention.base").kernel_errors() as raised:
        return {"refused": f"it raised {type(raised).__name__}: {raised}".split("\n")[0]}
    (phase,) = recording.phases
    return {
        "duration_s": phase.duration_s / calls,
        "energy_j": phase.energy.energy_j / calls if phase.energy else None,
        "energy_meter": phase.energy.meter if phase.energy else "",
        "energy_note": recording.energy_note,
        "peak_bytes": peak_bytes(backend, tensors),
        "relative_error": error,
    }


def peak_bytes(backend: Any, tensors: Any) -> int | None:
    """What one call allocates at most, its result included; ``None`` on a CPU, which does not tell.

    Bytes allocated, not those that torch's allocator holds: it keeps what earlier kernels needed.
    """
    import torch

    device = tensors[0].device
    if device.type != "cuda":
        return None
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    backend(*tensors)
    return torch.cuda.max_memory_allocated(device) - before


def run_calls(backend: Any, tensors: Any, window: Any, seconds: float, each_s: float) -> int:
    """Calls for about ``seconds``, in one phase; returns how many."""
    import torch

    calls, chunk = 0, max(1, min(100, round(seconds / max(each_s, 1e-6) / 20)))
    end_s = time.perf_counter() + seconds
    with window.phase("denoise"):
        while time.perf_counter() < end_s:
            for _ in range(chunk):
                backend(*tensors)
            calls += chunk
            if tensors[0].is_cuda:
                torch.cuda.synchronize()
    return calls


def as_text(row: dict[str, Any]) -> str:
    """One line of the table for people."""
    head = f"{row['shape']:20} {row['size']:24} {row['backend']:18}"
    if row.get("refused"):
        return f"{head} refused: {row['refused']}"
    energy = "" if row["energy_j"] is None else f"{row['energy_j'] * 1e3:10.3f} mJ"
    peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:8.1f} MiB"
    error = "unknown" if row["relative_error"] is None else f"{row['relative_error']:.1e}"
    return f"{head} {row['duration_s'] * 1e6:10.1f} us {energy:13} {peak:12} error {error}"


if __name__ == "__main__":
    sys.exit(main())
