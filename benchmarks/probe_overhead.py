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
    folder = wattbench("hosts.remote.server").find_comfyui(args.comfyui)
    wattbench("hosts.comfyui.inprocess").load_comfyui(folder, cpu=not args.gpu)
    import torch

    torch.set_num_threads(args.threads)
    with torch.inference_mode():
        model, clip, _ = wattbench("hosts.comfyui.synthetic").build("sdxl", "tiny", "fp32", 0)
        inputs = sampling_inputs(wattbench, clip, args.size_px)
        ratio = overhead(wattbench, model, inputs, SAMPLING, args.meter, args.pairs)
    print(
        f"denoise time with probes over without: {ratio.value:.4f} "
        f"[{ratio.ci_low:.4f}, {ratio.ci_high:.4f}] (95 %, {ratio.n} pairs), goal {GOAL}"
    )
    return int(ratio.ci_low > GOAL)


def sampling_inputs(wattbench: Any, clip: Any, size_px: int) -> dict[str, Any]:
    """Conditioning and an empty latent for KSampler."""
    run_core = wattbench("hosts.comfyui.core").run_core
    return {
        "positive": run_core("CLIPTextEncode", clip=clip, text="a moth")[0],
        "negative": run_core("CLIPTextEncode", clip=clip, text="")[0],
        "latent_image": run_core("EmptyLatentImage", width=size_px, height=size_px, batch_size=1)[
            0
        ],
    }


def overhead(
    wattbench: Any,
    model: Any,
    inputs: dict[str, Any],
    settings: dict[str, Any],
    meter: str,
    pairs: int,
) -> Any:
    """Denoising time with probes over without, as an Estimate over pairs that take turns."""
    plain, probed = arms(wattbench, model, {**inputs, **settings}, meter)
    for seed in range(2):
        plain(seed), probed(seed)
    times: dict[Callable[[int], float], list[float]] = {plain: [], probed: []}
    for seed in range(pairs):
        for arm in (plain, probed) if seed % 2 else (probed, plain):
            times[arm].append(arm(seed))
    return wattbench("stats").paired_ratio(times[plain], times[probed]).ratio


def arms(
    wattbench: Any, model: Any, inputs: dict[str, Any], meter: str
) -> tuple[Callable[[int], float], Callable[[int], float]]:
    """Two functions that sample with a seed and answer the seconds of denoising.

    Both are timed by the same clock around the same part, from outside of the probes.
    """
    core = wattbench("hosts.comfyui.core")
    observation = wattbench("measure.protocol.observation")
    host = wattbench("hosts.comfyui.host").HOST
    timed, seconds = timed_clone(model)

    def sample(model: Any, seed: int) -> float:
        core.run_core("KSampler", model=model, seed=seed, **inputs)
        return seconds[-1]

    def record(facts: dict[str, Any], seed: int | None) -> Any:
        probe = observation.Probe()
        return observation.observe(host, probe, model.load_device, meter, facts, seed)

    probed = wattbench("hosts.comfyui.sampling").observe_sampling(timed, record)
    return (lambda seed: sample(timed, seed)), (lambda seed: sample(probed, seed))


def timed_clone(model: Any) -> tuple[Any, list[float]]:
    """A clone that notes the seconds of each denoising, around every other wrapper.

    The device is synchronised before and after it.
    """
    from comfy.patcher_extension import WrappersMP

    timeline = import_pack()("measure.recording.timeline").timeline_for(model.load_device)
    seconds: list[float] = []

    def timed(executor: Any, *args: Any, **kw: Any) -> Any:
        timeline.stop()
        start_s = time.perf_counter()
        result = executor(*args, **kw)
        timeline.stop()
        seconds.append(time.perf_counter() - start_s)
        return result

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "benchmark", timed)
    return clone, seconds


if __name__ == "__main__":
    sys.exit(main())
