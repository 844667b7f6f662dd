"""Every weight format on this machine's GPU: speed, joules, memory, and distance from bf16.

    python benchmarks/gpu_quantization.py                    # Z-Image Turbo and SDXL, 1024 x 1024
    python benchmarks/gpu_quantization.py --size tiny --cpu  # the same path, on any machine

Synthetic models at full size, denoised with random conditioning: no download and no text encoder.
Each format is made from the same bf16 weights. ``stock`` rows are ComfyUI's own loader options
fp8_e4m3fn and fp8_e4m3fn_fast. Writes formats.csv; it changes no setting of the card.
"""

from __future__ import annotations

import argparse
import csv
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pack import import_pack

SIZE_EMBEDDING = 6 * 256
"""What SDXL appends to the pooled text: six numbers of 256 values each."""


@dataclass(frozen=True)
class Workload:
    """A sampling with ``tokens`` of text, whose width is ``context_key`` of the configuration."""

    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    tokens: int
    context_key: str


WORKLOADS = {
    "z_image_turbo": Workload(8, 1.0, "res_multistep", "simple", 32, "cap_feat_dim"),
    "sdxl": Workload(30, 7.0, "euler", "normal", 77, "context_dim"),
}
SIZES_PX = {"full": 1024, "tiny": 64}
STOCK = ("stock fp8_e4m3fn", "stock fp8_e4m3fn_fast")
COLUMNS = (
    "architecture",
    "format",
    "it_per_s",
    "speedup",
    "denoise_j_per_img",
    "weights_gib",
    "weights_ratio",
    "allocator_peak_gib",
    "latent_distance",
    "products_executed",
    "note",
)


def main() -> int:
    args = parse_args()
    wattbench = import_pack()
    find_comfyui = wattbench("hosts.remote.server").find_comfyui
    args.out.mkdir(parents=True, exist_ok=True)
    wattbench("hosts.comfyui.inprocess").load_comfyui(
        find_comfyui(args.comfyui), cpu=args.cpu, base_directory=args.out / "comfyui"
    )
    import torch

    with (args.out / "formats.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for architecture in args.architectures:
            with torch.inference_mode():
                for row in rows(wattbench, architecture, args):
                    table.writerow(row)
                    file.flush()
                    print("  ".join(f"{row[name]}" for name in COLUMNS[:-1]), row["note"])
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--architectures", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--formats", nargs="+", help="default: bf16, stock's and all of ours")
    parser.add_argument("--size", choices=SIZES_PX, default="full")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--meter", default="auto", help="as wattbench doctor lists it")
    parser.add_argument("--profile", default="", help="a format whose kernels are listed")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser.add_argument("--out", type=Path, default=Path("output") / "gpu_quantization")
    return parser.parse_args()


def rows(wattbench: Any, architecture: str, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row of the table for each format, bf16 first."""
    formats = wattbench("quant.formats").FORMATS
    names = args.formats or ["bf16", *STOCK, *(f.name for f in formats if f.is_quantized)]
    bench = Bench.of(wattbench, architecture, args)
    for name in names:
        with released():
            yield bench.row(name)


@contextmanager
def released() -> Iterator[None]:
    """Leaves the device empty."""
    import comfy.model_management

    yield
    comfy.model_management.unload_all_models()
    gc.collect()
    comfy.model_management.soft_empty_cache()


class Bench:
    """The source model, its conditioning, and what bf16 gave."""

    def __init__(
        self, wattbench: Any, source: Any, architecture: str, args: argparse.Namespace
    ) -> None:
        import torch

        self.wattbench, self.source, self.args = wattbench, source, args
        self.architecture, self.workload = architecture, WORKLOADS[architecture]
        generator = torch.Generator().manual_seed(0)
        config = source.model.model_config.unet_config
        shape = (1, self.workload.tokens, config[self.workload.context_key])
        extra = {}
        if "adm_in_channels" in config:
            pooled = config["adm_in_channels"] - SIZE_EMBEDDING
            extra["pooled_output"] = torch.randn(1, pooled, generator=generator)
        self.conditioning = [[torch.randn(shape, generator=generator), extra]]
        self.baseline: dict[str, Any] = {}

    @classmethod
    def of(cls, wattbench: Any, architecture: str, args: argparse.Namespace) -> Bench:
        """With a synthetic bf16 model, and nothing else of a checkpoint."""
        recipe = wattbench("hosts.comfyui.synthetic")._recipe(architecture, args.size, "bf16", 0)
        source = wattbench("hosts.comfyui.synthetic.assembly").build_model(recipe)
        return cls(wattbench, source, architecture, args)

    def row(self, name: str) -> dict[str, Any]:
        values: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        values |= {"architecture": self.architecture, "format": name}
        try:
            model = self.model(name)
        except (ValueError, ImportError) as error:
            return values | {"note": str(error)}
        if name == "fp8_static":
            self.calibrate(model)
        return values | self.measure(name, model)

    def model(self, name: str) -> Any:
        quantized = self.wattbench("hosts.comfyui.quantized")
        if name in STOCK:
            return stock_fp8(self.source, fast=name.endswith("fast"))
        return quantized.quantize_model(self.source, quantized.Request(name, "bf16"))

    def measure(self, name: str, model: Any) -> dict[str, Any]:
        observation = self.wattbench("measure.protocol.observation")
        host = self.wattbench("hosts.comfyui.host").HOST
        probe = observation.Probe()
        self.sample(model, 0)
        observed = self.wattbench("hosts.comfyui.sampling").observe_sampling(
            model,
            lambda facts, seed: observation.observe(
                host, probe, model.load_device, self.args.meter, facts, seed
            ),
        )
        latents = [self.sample(observed, seed) for seed in range(self.args.repeats)]
        if name == self.args.profile:
            profile(lambda: self.sample(model, 0), self.args.out)
        recordings = [seen.recording for seen in probe.observations]
        denoise = [next(p for p in r.phases if p.name == "denoise") for r in recordings]
        energies = [p.energy.energy_j for p in denoise if p.energy is not None]
        weights = sum(t.nbytes for t in model.model.diffusion_model.state_dict().values())
        peaks = [r.allocator_peak_bytes for r in recordings if r.allocator_peak_bytes]
        found = {
            "it_per_s": self.workload.steps / fmean(p.duration_s for p in denoise),
            "weights": weights,
            "latents": latents,
        }
        self.baseline = self.baseline or found
        calls = "; ".join(
            f"{c.requested}: {c.executed} x {c.call_count}" for c in recordings[-1].kernel_calls
        )
        return {
            "it_per_s": f"{found['it_per_s']:.3f}",
            "speedup": f"{found['it_per_s'] / self.baseline['it_per_s']:.3f}",
            "denoise_j_per_img": f"{fmean(energies):.1f}" if energies else "",
            "weights_gib": f"{weights / 2**30:.3f}",
            "weights_ratio": f"{weights / self.baseline['weights']:.3f}",
            "allocator_peak_gib": f"{max(peaks) / 2**30:.2f}" if peaks else "",
            "latent_distance": f"{distance(latents, self.baseline['latents']):.4f}",
            "products_executed": calls,
            "note": "" if energies else recordings[-1].energy_note,
        }

    def sample(self, model: Any, seed: int) -> Any:
        run_core = self.wattbench("hosts.comfyui.core").run_core
        size = SIZES_PX[self.args.size]
        (latent,) = run_core("EmptyLatentImage", width=size, height=size, batch_size=1)
        workload = self.workload
        (samples,) = run_core(
            "KSampler",
            model=model,
            seed=seed,
            steps=workload.steps,
            cfg=workload.cfg,
            sampler_name=workload.sampler_name,
            scheduler=workload.scheduler,
            positive=self.conditioning,
            negative=self.conditioning,
            latent_image=latent,
        )
        return samples["samples"]

    def calibrate(self, model: Any) -> None:
        """Store for each fp8_static layer the largest activation of one sampling."""
        import torch

        fp8 = self.wattbench("quant.formats.fp8")
        largest: dict[Any, Any] = {}

        def note(layer: Any, inputs: tuple[Any, ...]) -> None:
            amax = inputs[0].abs().amax().float()
            largest[layer] = torch.maximum(largest.get(layer, amax), amax)

        layers = [
            m
            for m in model.model.diffusion_model.modules()
            if getattr(m, "quant_format", "") == "fp8_static"
        ]
        handles = [layer.register_forward_pre_hook(note) for layer in layers]
        try:
            self.sample(model, 1234)
        finally:
            for handle in handles:
                handle.remove()
        for layer, amax in largest.items():
            layer.set_input_scale(fp8.scale_of(amax))


def stock_fp8(source: Any, fast: bool) -> Any:
    """What core's loader makes of the same weights with weight_dtype fp8_e4m3fn or _fast."""
    import comfy.model_management
    import comfy.model_patcher
    import torch

    config = type(source.model.model_config)(source.model.model_config.unet_config)
    config.optimizations["fp8"] = fast
    device = source.load_device
    compute_dtype = comfy.model_management.unet_manual_cast(
        torch.float8_e4m3fn, device, config.supported_inference_dtypes
    )
    config.set_inference_dtype(torch.float8_e4m3fn, compute_dtype, device=device)
    tensors = {
        key: tensor.to(torch.float8_e4m3fn)
        for key, tensor in source.model.diffusion_model.state_dict().items()
    }
    model = config.get_model(tensors, "")
    patcher = comfy.model_patcher.CoreModelPatcher(model, device, source.offload_device)
    model.load_model_weights(tensors, "", assign=patcher.is_dynamic())
    return patcher


def distance(latents: list[Any], reference: list[Any]) -> float:
    """The relative distance ``|x - r| / |r|`` of all latents together."""
    import torch

    x, r = torch.cat(latents).float(), torch.cat(reference).float()
    return float((x - r).norm() / r.norm())


def profile(run: Callable[[], Any], out: Path) -> None:
    """Write the kernels of ``run`` by their time on the device."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    with torch_profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        run()
    table = seen.key_averages().table(
        sort_by="self_cuda_time_total", row_limit=40, max_name_column_width=90
    )
    (out / "profile.txt").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
