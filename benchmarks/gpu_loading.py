"""A quantized model in a day's work: loading, LoRA on and off, too little VRAM, GGUF.

    python benchmarks/gpu_loading.py                                # Z-Image Turbo, 1024 x 1024
    python benchmarks/gpu_loading.py --formats fp8 --dynamic-vram
    python benchmarks/gpu_loading.py --size tiny --cpu              # the same path, on any machine

A synthetic bf16 model is written to a file and read back in each format by the node's own loader.
Each row is one way to use it. ``distance`` is that of the latent from the one as loaded. Peaks are
those of the row: what torch allocated on the card, and by how much the process's resident memory
rose, the mapped file included. Low VRAM is real: the card is filled until half of the weights fit.
Writes loading.csv; it changes no setting of the card.
"""

from __future__ import annotations

import argparse
import csv
import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpu_quantization import SIZES_PX, WORKLOADS, Bench, distance, released
from pack import import_pack
from quantize import peak_bytes

GGUF = "gguf"
COLUMNS = (
    "format", "way", "seconds", "weights_on_card", "vram_peak_gib", "rss_rise_gib", "distance",
    "products_executed", "reasons",
)  # fmt: skip


def main() -> int:
    args = parse_args()
    wattbench = import_pack()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.dynamic_vram:
        import comfy_aimdo.control

        comfy_aimdo.control.init()
    wattbench("hosts.comfyui.inprocess").load_comfyui(
        wattbench("hosts.remote.server").find_comfyui(args.comfyui),
        cpu=args.cpu,
        base_directory=args.out / "comfyui",
    )
    if args.dynamic_vram:
        print(f"dynamic VRAM: {enable_dynamic_vram()}")
    import torch

    with (
        (args.out / "loading.csv").open("w", newline="", encoding="utf-8") as file,
        torch.inference_mode(),
    ):
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        bench = Bench.of(wattbench, args.architecture, args)
        if args.size == "tiny":
            detect_as(bench.source.model.model_config)
        files = write_files(bench)
        bench.source = None
        for name in args.formats:
            for row in rows(bench, name, files[GGUF if name == GGUF else "bf16"]):
                table.writerow(row)
                file.flush()
                print("  ".join(str(row[column]) for column in COLUMNS))
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--architecture", choices=WORKLOADS, default="z_image_turbo")
    parser.add_argument("--formats", nargs="+", default=["bf16", "fp8", "nf4", GGUF])
    parser.add_argument("--size", choices=SIZES_PX, default="full")
    parser.add_argument("--dynamic-vram", action="store_true")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser.add_argument("--out", type=Path, default=Path("output") / "gpu_loading")
    return parser.parse_args()


def enable_dynamic_vram() -> str:
    """What ComfyUI's main.py does before it loads a model; returns ``on``, or why not."""
    import comfy.memory_management
    import comfy.model_management
    import comfy.model_patcher
    import comfy_aimdo.control

    devices = [d.index for d in comfy.model_management.get_all_torch_devices()]
    if not comfy_aimdo.control.init_devices((index, 0) for index in devices):
        return "comfy-aimdo finds no device that it can work with"
    comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
    comfy.memory_management.aimdo_enabled = True
    return "on"


def detect_as(config: Any) -> None:
    """Let every file be taken for ``config``: ComfyUI knows models by their published shapes."""
    import comfy.model_detection

    def detected(tensors: Any, prefix: str, *args: Any, **kw: Any) -> Any:
        if not any(name.startswith(prefix) for name in tensors):
            return None
        return type(config)(config.unet_config)

    comfy.model_detection.model_config_from_unet = detected


def write_files(bench: Bench) -> dict[str, Path]:
    """The source model as safetensors, and with its matrices in Q8_0 as GGUF."""
    from safetensors.torch import save_file

    tensors = dict(bench.source.model.diffusion_model.state_dict())
    files = {"bf16": bench.args.out / "bf16.safetensors"}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, files["bf16"])
    if GGUF in bench.args.formats:
        files[GGUF] = bench.args.out / "q8_0.gguf"
        write_gguf(files[GGUF], tensors, bench.source.load_device)
    return files


def write_gguf(path: Path, tensors: dict[str, Any], device: Any) -> None:
    """Q8_0: blocks of an fp16 scale and 32 int8 numbers."""
    import gguf
    import torch

    writer = gguf.GGUFWriter(path, "lumina2")
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and tensor.shape[1] % 32 == 0:
            blocks = tensor.to(device, torch.float32).reshape(-1, 32)
            scale = (blocks.abs().amax(1, keepdim=True) / 127).clamp_min(1e-7).to(torch.float16)
            numbers = (blocks / scale.float()).round().to(torch.int8)
            packed = torch.cat([scale.view(torch.uint8), numbers.view(torch.uint8)], 1)
            data = packed.reshape(tensor.shape[0], -1).cpu().numpy()
            writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, tensor.float().cpu().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rows(bench: Bench, name: str, path: Path) -> Iterator[dict[str, Any]]:
    """Load the file in format ``name``, then use the model in every way."""
    host = bench.wattbench("hosts.comfyui.quantized")
    request = host.Request(host.AS_STORED if name == GGUF else name, "bf16")
    with released():
        with measured(name, "load the file") as row:
            model = host.load_model(str(path), request)
        yield row
        if name == "fp8_static":
            bench.calibrate(model)
        reference: list[Any] = []
        for way, arm in ways(model):
            with measured(name, way) as row:
                latent = bench.sample(arm, 0)
            reference = reference or [latent]
            yield row | found(bench, model, arm, latent, reference)


def ways(model: Any) -> Iterator[tuple[str, Any]]:
    """Names of the ways to use ``model``, and what to sample."""
    yield "first sampling", model
    yield "as loaded", model
    yield "with a LoRA", with_lora(model)
    yield "without it again", model
    if model.load_device.type == "cuda" and not model.is_dynamic():
        with half_of_the_card(model):
            yield "half offloaded", model
            yield "half offloaded, LoRA", with_lora(model)
        yield "loaded again", model


def found(bench: Bench, model: Any, arm: Any, latent: Any, reference: list[Any]) -> dict[str, Any]:
    """What the last sampling was, and clears its counts."""
    ledger = bench.wattbench("hosts.comfyui.quantized").linear_ledger(model)
    calls = [] if ledger is None else ledger.read()
    if ledger is not None:
        ledger.clear()
    return {
        "weights_on_card": f"{arm.loaded_size() / arm.model_size():.2f}",
        "distance": f"{distance([latent], reference):.4f}",
        "products_executed": "; ".join(
            f"{c.requested}: {c.executed} x {c.call_count}" for c in calls
        ),
        "reasons": "; ".join(sorted({c.reason for c in calls if c.reason})),
    }


@contextmanager
def measured(name: str, way: str) -> Iterator[dict[str, Any]]:
    """A row with the seconds and the peaks of memory of what happens within."""
    import torch

    row = {**dict.fromkeys(COLUMNS, ""), "format": name, "way": way}
    on_card = torch.cuda.is_available()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # VmHWM begins anew
    resident = peak_bytes()
    if on_card:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start_s = time.perf_counter()
    yield row
    if on_card:
        torch.cuda.synchronize()
        row["vram_peak_gib"] = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}"
    row["seconds"] = f"{time.perf_counter() - start_s:.3f}"
    row["rss_rise_gib"] = f"{(peak_bytes() - resident) / 2**30:.2f}"


def with_lora(model: Any) -> Any:
    """A clone with a matrix of rank 4 added to each matrix of the first block of every kind."""
    import torch

    patched = model.clone()
    generator = torch.Generator().manual_seed(0)
    patches = {}
    for key, weight in model.model.named_parameters():
        if ".0." in key and key.endswith(".weight") and weight.ndim == 2:
            up = torch.randn(weight.shape[0], 4, generator=generator)
            down = torch.randn(4, weight.shape[1], generator=generator)
            patches[key] = ("diff", (up @ down / weight.shape[1],))
    patched.add_patches(patches)
    return patched


@contextmanager
def half_of_the_card(model: Any) -> Iterator[None]:
    """Fills the card until half of the model's weights fit beside what a sampling takes."""
    import comfy.model_management as management
    import torch

    management.unload_all_models()
    management.soft_empty_cache()
    sampling = model.model.memory_required([1, 16, 128, 128]) + management.extra_reserved_memory()
    left = int(model.model_size() / 2 + sampling)
    filler = torch.empty(
        max(0, management.get_free_memory(model.load_device) - left),
        dtype=torch.uint8,
        device=model.load_device,
    )
    yield
    del filler
    management.unload_all_models()
    management.soft_empty_cache()


if __name__ == "__main__":
    sys.exit(main())
