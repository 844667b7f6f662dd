"""The benchmark scripts run as they are documented, here in their smallest form on the CPU."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from wattbench.cli.server import find_comfyui

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def run_script(tmp_path, monkeypatch):
    """A function that runs a script in a process of its own and answers what it printed."""
    monkeypatch.setenv("COMFYUI_PATH", str(find_comfyui()))

    def run(name, *arguments):
        command = [sys.executable, str(BENCHMARKS / name), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout, done.stderr[-2000:]
        return done.stdout

    return run


def test_gpu_script_runs_both_workloads_of_the_study(run_script, tmp_path):
    options = ["--size", "tiny", "--cpu", "--repeats", "1", "--warmup-runs", "0"]
    printed = run_script("gpu.py", *options, "--idle-seconds", "0", "--meter", "estimate")
    runs = pd.read_csv(tmp_path / "output" / "gpu" / "runs.csv")
    assert list(runs["architecture"]) == ["sdxl", "z_image_turbo"]
    assert list(runs["steps"]) == [30, 8]
    assert runs["error"].isna().all()
    assert (runs["energy_j"] > 0).all()
    assert "synthetic sdxl tiny" in printed
    assert (tmp_path / "output" / "gpu" / "summary.csv").exists()


def test_probe_overhead_gives_a_ratio_with_its_interval(run_script):
    printed = run_script("probe_overhead.py", "--pairs", "2", "--size-px", "64")
    ratio, low, high = map(float, re.search(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", printed).groups())
    assert low <= ratio <= high


def test_import_time_gives_seconds(run_script):
    printed = run_script("import_time.py", "--repeats", "2")
    assert float(re.search(r"least ([\d.]+) s", printed)[1]) > 0


def test_gpu_meters_writes_its_figures(run_script, tmp_path):
    options = ["--size", "tiny", "--cpu", "--repeats", "1", "--pairs", "2"]
    printed = run_script("gpu_meters.py", *options, "--watch-seconds", "0.5", "--meter", "estimate")
    figures = pd.read_csv(tmp_path / "output" / "gpu_meters" / "figures.csv").set_index("name")
    assert figures.loc["counter: a read", "value"] > 0
    assert 0 <= figures.loc["energy against steps: R²", "value"] <= 1
    assert figures.loc["denoising time with probes over without", "value"] > 0
    samplings = pd.read_csv(tmp_path / "output" / "gpu_meters" / "linearity.csv")
    assert list(samplings["steps"]) == [1, 2, 3]
    assert (samplings["energy_j"] > 0).all()
    assert "energy of a step" in printed
