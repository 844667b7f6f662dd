"""The benchmark scripts run as they are documented, here in their smallest form on the CPU."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from wattbench.hosts.remote.server import find_comfyui

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


@pytest.fixture
def run_here(comfyui, tmp_path, monkeypatch, capsys):
    """As ``run_script``, in this process: it has ComfyUI loaded, which takes a script longest."""
    import comfy.model_detection as detection

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(BENCHMARKS)
    # A script may put its own in place of this one, for the rest of its process.
    detect = detection.model_config_from_unet
    monkeypatch.setattr(detection, "model_config_from_unet", detect)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
        assert not ended.value.code
        return capsys.readouterr().out

    return run


def test_gpu_script_runs_both_workloads_of_the_study(run_here, tmp_path):
    options = ["--size", "tiny", "--cpu", "--repeats", "1", "--warmup-runs", "0"]
    printed = run_here("gpu.py", *options, "--idle-seconds", "0", "--meter", "estimate")
    runs = pd.read_csv(tmp_path / "output" / "gpu" / "runs.csv")
    assert list(runs["architecture"]) == ["sdxl", "z_image_turbo"]
    assert list(runs["steps"]) == [30, 8]
    assert runs["error"].isna().all()
    assert (runs["energy_j"] > 0).all()
    assert "synthetic sdxl tiny" in printed
    assert (tmp_path / "output" / "gpu" / "summary.csv").exists()


def test_gpu_attention_compares_auto_with_stock_and_the_best(run_here, tmp_path):
    options = ["--size", "tiny", "--cpu", "--rounds", "2", "--steps", "1", "--meter", "estimate"]
    backends = ["--backends", "auto", "sdpa", "sub_quadratic"]
    printed = run_here("gpu_attention.py", *options, "--only", "sdxl", *backends)
    table = pd.read_csv(tmp_path / "output" / "gpu_attention" / "table.csv")
    assert list(table["backend"]) == ["stock", "auto", "sdpa", "sub_quadratic"]
    assert (table["it_per_s"] > 0).all()
    assert (table["latent_error_to_sdpa_math"] < 1e-3).all()
    assert table["executed"].fillna("")[3] == "sub_quadratic: 22"
    assert "seconds of auto over " in printed


def test_attention_host_gives_the_cost_of_each_choice(run_here):
    printed = run_here("attention_host.py", "--cpu", "--rounds", "1")
    names = re.findall(r"^(\S+) +[\d.]+ us, +[+-][\d.]+ us$", printed, re.MULTILINE)
    assert names == ["stock", "sdpa", "sdpa_flash", "sdpa_math", "sub_quadratic", "split", "auto"]


def test_probe_overhead_gives_a_ratio_with_its_interval(run_here):
    printed = run_here("probe_overhead.py", "--pairs", "2", "--size-px", "64")
    ratio, low, high = map(float, re.search(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", printed).groups())
    assert low <= ratio <= high


def test_import_time_gives_seconds_and_what_comfyuis_start_needs_not_is_imported_later(run_script):
    printed = run_script("import_time.py", "--repeats", "1")
    assert float(re.search(r"least ([\d.]+) s", printed)[1]) > 0
    rooms = re.search("rooms: (.*)", printed)[1].split(", ")
    assert {"measure", "nodes", "quant"} <= set(rooms)
    assert not {"analysis", "cli", "fleet", "law", "sharing", "study"} & set(rooms)
    assert "packages: none" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="the script asks what a child has cost")
def test_scale_measures_each_command(run_script):
    printed = run_script("scale.py", "--runs", "12", "--conditions", "3")
    *_, row = printed.strip().splitlines()
    costs = re.findall(r"([\d.]+) s, (\d+) MiB", row)
    assert row.startswith("| 12 | 0 MiB |")
    assert len(costs) == 4
    assert all(float(seconds) > 0 and float(mib) > 10 for seconds, mib in costs)


@pytest.mark.skipif(sys.platform != "linux", reason="the simulated board needs Linux")
def test_meters_beside_peers_on_a_simulated_board(run_script, tmp_path):
    """The smallest form: two runs, in real time, so a busy machine adds to the errors."""
    options = ["--experiments", "1", "--runs", "2", "--out", "peers"]
    printed = run_script("meters_vs_peers.py", *options)
    scores = pd.read_csv(tmp_path / "peers" / "meters_vs_peers.csv").set_index("tool")
    for peer in ("Zeus", "CodeCarbon"):
        assert peer in scores.index or f"{peer} is left out, because it is not inst" in printed
    ours = scores.loc[["WattBench", "WattBench, pooled"]]
    assert ours[["whole_error", "denoise_error"]].to_numpy().max() < 0.5


def test_gpu_quantization_compares_formats(run_here, tmp_path):
    options = ["--architectures", "z_image_turbo", "--formats", "bf16", "fp8_static", "int8"]
    run_here(
        "gpu_quantization.py",
        *options,
        *("--size", "tiny", "--cpu", "--repeats", "1", "--meter", "estimate"),
    )
    rows = pd.read_csv(tmp_path / "output" / "gpu_quantization" / "formats.csv")
    rows = rows.set_index("format")
    assert list(rows.index) == ["bf16", "fp8_static", "int8"]
    assert rows.loc["bf16", "latent_distance"] == 0
    assert 0 < rows.loc["int8", "latent_distance"] < rows.loc["fp8_static", "latent_distance"]
    assert rows["weights_ratio"].drop("bf16").between(0.5, 0.6).all()
    assert "int8: dequantized (bf16)" in rows.loc["int8", "products_executed"]


@pytest.mark.skipif(sys.platform != "linux", reason="the script reads /proc")
def test_quantize_compares_three_ways(run_script):
    options = ["--gb", "0.1", "--repeats", "1", "--threads", "1", "--format", "int8"]
    printed = run_script("quantize.py", *options)
    rows = re.findall(r"^(\w+) +([\d.]+) GB/s  peak +([\d.]+) GB$", printed, re.MULTILINE)
    assert [way for way, _, _ in rows] == ["copy", "whole", "stream"]
    assert all(float(speed) > 0 and float(peak) > 0.1 for _, speed, peak in rows)
    assert re.search(r"stream / whole: [\d.]+ × the memory", printed)


def test_gpu_meters_writes_its_figures(run_here, tmp_path):
    options = ["--size", "tiny", "--cpu", "--repeats", "1", "--pairs", "2"]
    printed = run_here("gpu_meters.py", *options, "--watch-seconds", "0.5", "--meter", "estimate")
    figures = pd.read_csv(tmp_path / "output" / "gpu_meters" / "figures.csv").set_index("name")
    assert figures.loc["counter: a read", "value"] > 0
    assert 0 <= figures.loc["energy against steps: R²", "value"] <= 1
    assert figures.loc["denoising time with probes over without", "value"] > 0
    samplings = pd.read_csv(tmp_path / "output" / "gpu_meters" / "linearity.csv")
    assert list(samplings["steps"]) == [4, 8, 12]
    assert (samplings["energy_j"] > 0).all()
    assert "energy of a step" in printed


def test_attention_gives_every_backend_a_row_with_figures_or_a_reason(run_here, tmp_path):
    options = ["--device", "cpu", "--scale", "64", "--seconds", "0.05", "--dtype", "float32"]
    printed = run_here("attention.py", *options, "--meter", "estimate")
    table = pd.read_csv(tmp_path / "output" / "attention" / "attention.csv")
    assert len(table) % 5 == 0
    assert (table["duration_s"].notna() ^ table["refused"].notna()).all()
    exact = table[table["backend"].isin(["sdpa", "sdpa_math", "sub_quadratic", "split"])]
    assert len(exact) == 4 * 5
    assert (exact["relative_error"] < 1e-5).all()
    assert (exact["energy_j"] >= 0).all()
    assert "refused: it needs" in printed


def test_optimize_gives_the_arms_side_by_side(run_here, tmp_path):
    options = ["--size", "tiny", "--cpu", "--steps", "2", "--repeats", "2", "--warmup-runs", "0"]
    printed = run_here(
        "gpu_optimize.py", *options, "--only", "stock", "channels_last", "--meter", "estimate"
    )
    summary = pd.read_csv(tmp_path / "output" / "gpu_optimize" / "summary.csv")
    assert list(summary["optimizations"].fillna("")) == [
        "",
        "channels_last, vae channels_last",
    ]
    assert summary["it_per_s_ratio"].notna().tolist() == [False, True]
    error = float(re.search(r"channels_last: relative error .* ([\d.e-]+)", printed)[1])
    assert error < 1e-3


@pytest.mark.skipif(sys.platform != "linux", reason="the script reads /proc")
def test_gpu_loading_uses_each_format_in_every_way(run_here, tmp_path):
    run_here("gpu_loading.py", "--size", "tiny", "--cpu", "--formats", "fp8", "gguf")
    rows = pd.read_csv(tmp_path / "output" / "gpu_loading" / "loading.csv")
    ways = ["load the file", "first sampling", "as loaded", "with a LoRA", "without it again"]
    assert list(rows["way"]) == 2 * ways
    rows = rows.set_index(["format", "way"])
    assert (rows["seconds"] > 0).all()
    for name, executed in (("fp8", "fp8: dequantized (bf16)"), ("gguf", "gguf:Q8_0: dequantized")):
        assert rows.loc[(name, "with a LoRA"), "distance"] > 0.01
        assert rows.loc[(name, "without it again"), "distance"] == 0
        assert executed in rows.loc[(name, "as loaded"), "products_executed"]


def test_history_overhead(comfy_server, monkeypatch):
    """Each arm is timed, and has the history as it says."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = runpy.run_path(str(BENCHMARKS / "history_overhead.py"))
    client = comfy_server.client
    try:
        off, on = script["measured_pairs"](client, script["cheap_nodes"], 2, 1)
        kept = client.get_json("/wattbench/history")["prompts"]
    finally:
        for wish in ({"most": 0}, {"clear": True}):
            script["post"](client, script["ROUTE"], wish)
    assert [len(arm) for arm in (off, on)] == [2, 2]
    assert all(value > 0 for one in (*off, *on) for value in one.values())
    assert len(kept[0]["nodes"]) == script["CHEAP_NODES"]
