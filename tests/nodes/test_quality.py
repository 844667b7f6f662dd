"""Sets of prompts, a benchmark over prompts and seeds, and metrics of its pictures."""

import uuid
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from wattbench.measure.protocol.journal import parse
from wattbench.quality.colourfulness import colourfulness
from wattbench.quality.measured import as_8_bit
from wattbench.quality.prompts import WATTBENCH_13, PromptSet
from wattbench.report import runs_frame

from .test_benchmark import run_benchmark

__all__ = ["run_benchmark"]


@pytest.fixture
def prompt_set(comfyui):
    from wattbench.nodes.quality import WattBenchPromptSet

    def execute(name="wattbench_13", file="", negative="", index=0, count=0):
        return WattBenchPromptSet.execute(name, file, negative, index, count).result

    return execute


@pytest.fixture
def metrics(comfyui):
    from wattbench.nodes.quality import WattBenchPictureMetrics

    return lambda *args, **named: WattBenchPictureMetrics.execute(*args, **named).result[0]


@pytest.fixture
def model_folder(comfyui):
    """A function that makes a folder of files in ComfyUI's models."""
    import folder_paths

    made = []

    def make(files):
        folder = Path(folder_paths.models_dir) / "wattbench_metrics" / f"test_{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        made.append(folder)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder.name

    yield make
    for folder in made:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_a_shipped_set_and_an_index(prompt_set):
    prompts, prompt, size = prompt_set(index=2, negative="blurry")
    assert (prompt, size) == (WATTBENCH_13.texts[2], 13)
    assert prompts.texts == (*WATTBENCH_13.texts[2:], *WATTBENCH_13.texts[:2])
    assert prompts.negative == "blurry"
    assert prompt_set(index=14, count=2)[0].texts == WATTBENCH_13.texts[1:3]
    assert "moth" in prompt_set("edge_nodes")[1]


def test_a_file_of_the_input_folder(prompt_set, comfyui):
    import folder_paths

    from wattbench.nodes.quality import WattBenchPromptSet

    path = Path(folder_paths.get_input_directory()) / "prompts.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("prompt\na moth\na lamp\n", "utf-8")
    try:
        assert prompt_set("file", "prompts.csv")[0].texts == ("a moth", "a lamp")
        assert WattBenchPromptSet.validate_inputs("file", "prompts.csv") is True
        before = WattBenchPromptSet.fingerprint_inputs("file", "prompts.csv")
        path.write_text("prompt\nanother\n", "utf-8")
        assert WattBenchPromptSet.fingerprint_inputs("file", "prompts.csv") != before
    finally:
        path.unlink()
    assert "cannot be read" in WattBenchPromptSet.validate_inputs("file", "prompts.csv")
    assert "not a file in" in WattBenchPromptSet.validate_inputs("file", "/etc/passwd")
    assert WattBenchPromptSet.validate_inputs("edge_nodes", "/etc/passwd") is True


SET = PromptSet("mine", ("a moth", "a lamp", "a moth with a lamp"), "blurry")


def test_prompts_times_seeds_and_their_metrics(run_benchmark, metrics, workspace_folder):
    images, runs = run_benchmark(prompts=SET, idle_seconds=0.0)
    repeats = [run for run in runs if not run.is_warmup]
    assert [(run.prompt, run.seed) for run in repeats] == [
        (SET.prompt_id(i), seed) for seed in (10, 11) for i in range(3)
    ]
    assert {run.condition.prompts for run in runs} == {SET.label}
    assert len({run.condition for run in runs}) == 1
    assert images.shape[0] == 6
    assert len({run.picture.sha256 for run in repeats}) == 6, "each prompt and seed has its own"

    measured = metrics(images, runs)
    assert [run.run_id for run in measured] == [run.run_id for run in runs]
    assert measured[0].quality == ()
    values = {q.name: q.value for q in measured[1].quality}
    assert values["colourfulness"] == colourfulness(as_8_bit(images[0].numpy()))
    frame = runs_frame(measured)
    assert frame["quality_sharpness"].notna().sum() == 6
    assert frame["quality_psnr"].isna().all()

    # Against themselves: structure is equal, PSNR is infinite and says so.
    again = metrics(images, runs, images, runs)
    frame = runs_frame(again)
    assert frame["quality_ssim"].dropna().tolist() == pytest.approx([1] * 6)
    assert "infinite" in frame["quality_note"].iloc[-1]


def test_a_reference_of_the_same_prompt_and_seed(metrics, make_run):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand((2, 32, 32, 3), generator=generator)
    condition = replace(make_run().condition, batch_size=1)
    runs = tuple(make_run(p, condition=condition, prompt=p, seed=1) for p in "ab")
    swapped = metrics(pictures, runs, pictures[[1, 0]], runs[::-1])
    assert [dict(ssim_of(run)) for run in swapped] == [{"ssim": pytest.approx(1)}] * 2
    apart = metrics(pictures, runs, pictures[[1, 0]], runs)
    assert all(dict(ssim_of(run))["ssim"] < 0.5 for run in apart)
    with pytest.raises(ValueError, match="reference_images and reference_runs"):
        metrics(pictures, runs, pictures)


def ssim_of(run):
    return [(q.name, q.value) for q in run.quality if q.name == "ssim"]


def test_the_text_of_a_prompt_must_be_the_runs(metrics, make_run):
    condition = replace(make_run().condition, batch_size=1)
    pictures = torch.zeros((1, 32, 32, 3))
    runs = (make_run(condition=condition, prompt=SET.prompt_id(1)),)
    assert metrics(pictures, runs, prompts=SET)[0].quality
    with pytest.raises(ValueError, match="other prompts than the connected set's"):
        metrics(pictures, runs, prompts=replace(SET, negative=""))


def test_models_are_those_that_the_user_put_there(metrics, make_run, model_folder):
    from wattbench.nodes.quality import WattBenchPictureMetrics

    folder = model_folder({"readme.txt": b"nothing"})
    schema = WattBenchPictureMetrics.define_schema()
    options = next(i.options for i in schema.inputs if i.id == "clip_model")
    assert options[0] == "none"
    assert folder in options
    condition = replace(make_run().condition, batch_size=1)
    inputs = torch.zeros((1, 32, 32, 3)), (make_run(condition=condition),)
    for name, message in (
        ("clip_model", "has no config.json"),
        ("lpips_model", "no file of weights"),
        ("dists_model", "no file of weights"),
    ):
        with pytest.raises(ValueError, match=message):
            metrics(*inputs, **{name: folder})
    for outside in ("../checkpoints", "missing", "a/b"):
        with pytest.raises(ValueError, match=r"holds|there is no|not the name"):
            metrics(*inputs, lpips_model=outside)


def test_a_graph_of_them_runs_in_comfyui(execute, hundred_watts, workspace_folder):
    """As a user wires it, by ComfyUI's own executor."""
    graph = {
        "1": node(
            "WattBenchSyntheticModel", architecture="sdxl", size="tiny", dtype="fp32", seed=0
        ),
        "2": node(
            "WattBenchPromptSet", prompt_set="wattbench_13", file="", negative="", index=0, count=2
        ),
        "3": node(
            "WattBenchBenchmark",
            model=["1", 0],
            clip=["1", 1],
            vae=["1", 2],
            positive="",
            negative="",
            seed=1,
            width=64,
            height=64,
            batch_size=1,
            steps=1,
            cfg=1.0,
            sampler_name="euler",
            scheduler="normal",
            warmup_runs=0,
            repeats=2,
            idle_seconds=0.0,
            meter=hundred_watts,
            prompts=["2", 0],
        ),
        "4": node("WattBenchPictureMetrics", images=["3", 0], runs=["3", 1], prompts=["2", 0]),
        "5": node("WattBenchExportCSV", runs=["4", 0], folder="qualities"),
    }
    assert len(execute(graph)) == 4
    summary = pd.read_csv(workspace_folder / "qualities" / "summary.csv").iloc[0]
    assert (summary["n"], summary["quality_sharpness_n"], summary["quality_ssim_n"]) == (4, 4, 0)
    assert summary["quality_sharpness_mean"] > 0
    kept = parse((workspace_folder / "wattbench" / "journal.jsonl").read_text("utf-8"))
    table = pd.read_csv(workspace_folder / "qualities" / "runs.csv")
    known = {run.run_id: {q.name: q.value for q in run.quality} for run in kept}
    for run_id, sharpness in zip(table["run_id"], table["quality_sharpness"], strict=True):
        assert known[run_id]["sharpness"] == sharpness


def node(name, **inputs):
    return {"class_type": name, "inputs": inputs}
