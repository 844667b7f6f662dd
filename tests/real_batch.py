"""A batch of the real pack with a tiny model: its workflow, and the pack in a place of its own."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_THE_PACK = {"tests", "benchmarks", "output", "build"}


@pytest.fixture
def pack(tmp_path):
    """The pack in a place of its own, because a server keeps its folders below it."""
    pack = tmp_path / "pack"
    pack.mkdir()
    for path in ROOT.iterdir():
        if path.name not in NOT_THE_PACK and not path.name.startswith("."):
            (pack / path.name).symlink_to(path)
    return pack


@pytest.fixture
def workflow(tmp_path):
    """A benchmark of the tiny SDXL: no warm-up, two repeats."""
    benchmark = {
        "model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2],
        "positive": "a moth", "negative": "", "seed": 0,
        "width": 64, "height": 64, "batch_size": 1,
        "steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal",
        "warmup_runs": 0, "repeats": 2, "idle_seconds": 0, "meter": "auto",
    }  # fmt: skip
    synthetic = {"architecture": "sdxl", "size": "tiny", "dtype": "auto", "seed": 0}
    save = {"images": ["2", 0], "filename_prefix": "test"}
    graph = {
        "1": {"class_type": "WattBenchSyntheticModel", "inputs": synthetic},
        "2": {"class_type": "WattBenchBenchmark", "inputs": benchmark},
        "3": {"class_type": "SaveImage", "inputs": save},
    }
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(graph), "utf-8")
    return path
