"""Graphs in API format that browser tests run: a synthetic model, tiny, in seconds on a CPU."""

from __future__ import annotations

from typing import Any

Graph = dict[str, dict[str, Any]]

_SAMPLING = {"steps": 1, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"}
_SIZE = {"width": 64, "height": 64, "batch_size": 1}
_MODEL = {
    "class_type": "WattBenchSyntheticModel",
    "inputs": {"architecture": "sdxl", "size": "tiny", "dtype": "fp32", "seed": 0},
}


def benchmark(**inputs: Any) -> Graph:
    """Benchmark and Show Summary; two repeats without warm-up or idle time, but for ``inputs``."""
    return {
        "1": _MODEL,
        "2": {
            "class_type": "WattBenchBenchmark",
            "inputs": {
                "model": ["1", 0],
                "clip": ["1", 1],
                "vae": ["1", 2],
                "positive": "a moth",
                "negative": "",
                **_SIZE,
                "seed": 1,
                **_SAMPLING,
                "warmup_runs": 0,
                "repeats": 2,
                "idle_seconds": 0,
                "meter": "estimate",
                **inputs,
            },
        },
        "3": {"class_type": "WattBenchShowSummary", "inputs": {"runs": ["2", 1]}},
    }


def picture(seed: int) -> Graph:
    """ComfyUI's own nodes from a prompt to a picture."""
    return {
        "1": _MODEL,
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a moth"}},
        "3": {"class_type": "EmptyLatentImage", "inputs": _SIZE},
        "4": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "negative": ["2", 0],
                "latent_image": ["3", 0],
                "seed": seed,
                **_SAMPLING,
                "denoise": 1.0,
            },
        },
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
    }


def watched_picture(seed: int) -> Graph:
    """:func:`picture` with Watch Graph."""
    watch = {"folder": "wattbench", "meter": "estimate"}
    return {**picture(seed), "7": {"class_type": "WattBenchWatchGraph", "inputs": watch}}


def fallen_back(seed: int) -> Graph:
    """:func:`picture` by kernels that a CPU does not have, in the model and in the VAE."""
    inputs = {"backend": "sage_1", "strict": False, "max_error": 0.05, "timed": False}
    graph = picture(seed)
    graph["4"]["inputs"]["model"] = ["8", 0]
    chosen = {"class_type": "WattBenchAttentionBackend", "inputs": {"model": ["1", 0], **inputs}}
    graph["5"]["inputs"]["vae"] = ["9", 0]
    vae = {"vae": ["1", 2], "backend": "flash_attention_2"}
    return {**graph, "8": chosen, "9": {"class_type": "WattBenchVAEAttention", "inputs": vae}}
