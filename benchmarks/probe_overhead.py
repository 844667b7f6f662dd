"""What measuring costs: the tiny SDXL sampled with and without probes, in pairs.

    python benchmarks/probe_overhead.py [--pairs 40] [--meter estimate]

The arms of a pair have one seed and take turns in going first. The goal is a ratio of 1.01 at most.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pack import import_pack

GOAL = 1.01
SAMPLING = {"steps": 8, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--size-px", type=int, default=256)
    parser.add_argument("--meter", default="estimate")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of torch on the CPU; on a busy machine several wait for one another, and drown "
        "everything else in noise",
    )
    parser.add_argument("--comfyui", type=Path)
    parser.add_argument("--gpu", action="store_true", help="use the GPU if there is one")
    args = parser.parse_args()
    wattbench = import_pack()
    folder = wattbench("cli.server").find_comfyui(args.comfyui)
    wattbench("cli.inprocess").load_comfyui(folder, cpu=not args.gpu)
    import torch

    torch.set_num_threads(args.threads)
    with torch.inference_mode():
        plain, probed = arms(wattbench, args)
        for seed in range(2):
            plain(seed), probed(seed)
        times: dict[Callable[[int], float], list[float]] = {plain: [], probed: []}
        for seed in range(args.pairs):
            for arm in (plain, probed) if seed % 2 else (probed, plain):
                times[arm].append(arm(seed))
    ratio = wattbench("measure.stats").paired_ratio(times[plain], times[probed]).ratio
    print(
        f"denoise time with probes over without: {ratio.value:.4f} "
        f"[{ratio.ci_low:.4f}, {ratio.ci_high:.4f}] (95 %, {ratio.n} pairs), goal {GOAL}"
    )
    return int(ratio.ci_low > GOAL)


def arms(
    wattbench: Any, args: argparse.Namespace
) -> tuple[Callable[[int], float], Callable[[int], float]]:
    """Two functions that sample with a seed and answer the seconds of denoising.

    Both are timed by the same clock around the same part, from outside of the probes.
    """
    core = wattbench("nodes.host.core")
    observation = wattbench("nodes.observation")
    model, clip, _ = wattbench("nodes.host.synthetic").build("sdxl", "tiny", "fp32", 0)
    (positive,) = core.run_core("CLIPTextEncode", clip=clip, text="a moth")
    (negative,) = core.run_core("CLIPTextEncode", clip=clip, text="")
    size = {"width": args.size_px, "height": args.size_px, "batch_size": 1}
    (latent,) = core.run_core("EmptyLatentImage", **size)
    timed, seconds = timed_clone(model)

    def sample(model: Any, seed: int) -> float:
        conditioning = {"positive": positive, "negative": negative, "latent_image": latent}
        core.run_core("KSampler", model=model, seed=seed, **SAMPLING, **conditioning)
        return seconds[-1]

    def record(facts: dict[str, Any], seed: int | None) -> Any:
        probe = observation.Probe()
        return observation.observe(probe, model.load_device, args.meter, facts, seed)

    probed = wattbench("nodes.host.sampling").observe_sampling(timed, record)
    return (lambda seed: sample(timed, seed)), (lambda seed: sample(probed, seed))


def timed_clone(model: Any) -> tuple[Any, list[float]]:
    """A clone that notes the seconds of each denoising, around every other wrapper."""
    from comfy.patcher_extension import WrappersMP

    seconds: list[float] = []

    def timed(executor: Any, *args: Any, **kw: Any) -> Any:
        start_s = time.perf_counter()
        result = executor(*args, **kw)
        seconds.append(time.perf_counter() - start_s)
        return result

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "benchmark", timed)
    return clone, seconds


if __name__ == "__main__":
    sys.exit(main())
