"""Every shipped workflow runs in the real ComfyUI by ``comfy run``, as it is shipped.

comfy-cli makes the API format of it with the server's nodes; two are run from such a file as well.

Full-size ones run reduced: fewer pixels, steps and repeats, a tiny synthetic model or reduced
checkpoints in the real file layout. Qwen3-4B's layout cannot be made small, so its place is taken
by the tiny synthetic text encoder.
"""

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tooling.model_workflows import workflows
from wattbench.hosts.remote.comfy_run import run_workflow, to_api_format

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows"
SHIPPED = {path.stem for path in WORKFLOWS.glob("*.json")}
TINY = {"width": 64, "height": 64, "steps": 2, "warmup_runs": 1, "repeats": 2, "idle_seconds": 0.2}
ONCE = {**TINY, "steps": 1, "warmup_runs": 0, "repeats": 1}
LONG_PROMPT = "a small brown moth made of felt, " * 200
"""Takes a tiny encoder several steps of the system's account of CPU time, which are 10 ms."""
REDUCED = {
    "quickstart": {"WattBenchBenchmark": TINY},
    "attention_matrix": {"WattBenchBenchmark": TINY},
    "forecast": {
        "WattBenchPredictEnergy": {"width": 64, "height": 64, "steps": 2},
        "WattBenchBenchmark": TINY,
    },
    "sdxl_synthetic": {
        "WattBenchSyntheticModel": {"size": "tiny"},
        "WattBenchBenchmark": TINY,
    },
    "z_image_turbo_synthetic": {
        "WattBenchSyntheticModel": {"size": "tiny"},
        "WattBenchBenchmark": TINY,
    },
    "sdxl_illustrious": {"WattBenchBenchmark": ONCE},
    "z_image_turbo": {"WattBenchBenchmark": ONCE},
    "measured_nodes": {
        "EmptyLatentImage": {"width": 64, "height": 64},
        "WattBenchTextEncode": {"text": LONG_PROMPT},
    },
    "probe_any_workflow": {"EmptySD3LatentImage": {"width": 64, "height": 64}},
    "watch_any_workflow": {"EmptyLatentImage": {"width": 64, "height": 64}},
    "quantization_matrix": {"WattBenchBenchmark": ONCE},
    "calibrated_fp8": {
        "EmptySD3LatentImage": {"width": 64, "height": 64},
        "WattBenchCalibrate": {"steps": 1},
        "WattBenchBenchmark": ONCE,
    },
}
PICTURES = {
    "quickstart": 2,
    "attention_matrix": 3 * 2,
    "forecast": 2,
    "sdxl_synthetic": 2,
    "z_image_turbo_synthetic": 2,
    "quantization_matrix": 0,
}


def test_all_workflows_are_tested():
    assert set(REDUCED) | {path.stem for path in workflows() if path.parent == WORKFLOWS} == SHIPPED


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_each_workflow_has_a_preview(name):
    with Image.open(WORKFLOWS / f"{name}.jpg") as preview:
        assert preview.format == "JPEG"
        assert preview.width >= 400


@pytest.fixture(scope="module")
def files(comfyui, comfy_server):
    """The files that the study's workflows name, reduced, where they say that they go."""
    from . import reduced_checkpoints as reduced

    models = comfy_server.base_directory / "models"
    for folder in ("checkpoints", "diffusion_models", "vae"):
        (models / folder).mkdir(parents=True, exist_ok=True)
    reduced.write_sdxl_checkpoint(models / "checkpoints" / "plantMilkModelSuite.safetensors")
    reduced.write_sdxl_vae(models / "vae" / "sdxl_vae.safetensors")
    reduced.write_z_image_fp8(
        models / "diffusion_models" / "z_image_turbo_fp8_e4m3fn.safetensors", text_features=64
    )
    reduced.write_ae_vae(models / "vae" / "ae.safetensors")


@pytest.fixture(scope="module")
def run(comfy_server, files):
    """A function that runs a workflow file and answers its job."""

    def run(path):
        return run_workflow(comfy_server.client, path, 600, lambda event: None)

    return run


def reduce(name):
    """The workflow in UI format, with the widgets of REDUCED changed and the text encoder small."""
    workflow = json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    for node in workflow["nodes"]:
        for widget, value in REDUCED[name].get(node["type"], {}).items():
            node["widgets_values"][widget_index(node, widget)] = value
    if name == "z_image_turbo":
        take_synthetic_text_encoder(workflow)
    return workflow


def widget_index(node, widget):
    """Where a widget's value stands; a seed is followed by what to do with it after a run."""
    index = 0
    for entry in node["inputs"]:
        if entry.get("widget", {}).get("name") == widget:
            return index
        if "widget" in entry:
            index += 2 if entry["name"] in ("seed", "noise_seed") else 1
    raise KeyError(f"{node['type']} has no widget {widget}")


def take_synthetic_text_encoder(workflow):
    (loader,) = (n for n in workflow["nodes"] if n["type"] == "WattBenchLoadCLIP")
    (clip_link,) = loader["outputs"][0]["links"]
    loader["type"] = loader["properties"]["Node name for S&R"] = "WattBenchSyntheticModel"
    loader["inputs"] = [
        {"name": name, "type": "COMBO", "widget": {"name": name}, "link": None}
        for name in ("architecture", "size", "dtype", "seed")
    ]
    loader["widgets_values"] = ["z_image_turbo", "tiny", "auto", 0, "fixed"]
    loader["outputs"] = [
        {"name": kind, "type": kind, "links": [clip_link] if kind == "CLIP" else []}
        for kind in ("MODEL", "CLIP", "VAE")
    ]
    (link,) = (link for link in workflow["links"] if link[0] == clip_link)
    link[2] = 1


def output_file(comfy_server, item):
    folder = {"output": comfy_server.output_directory}[item["type"]]
    return folder / item["subfolder"] / item["filename"]


@pytest.mark.parametrize(
    ("name", "file_format"),
    [*((name, "ui") for name in REDUCED), ("quickstart", "api"), ("measured_nodes", "api")],
)
def test_workflow_runs(comfy_server, run, tmp_path, name, file_format):
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(reduce(name)), "utf-8")
    if file_format == "api":
        graph = to_api_format(comfy_server.client, path)
        change_seeds(graph)
        path.write_text(json.dumps(graph), "utf-8")
    job = run(path)
    assert job.error == ""
    outputs = {output_file(comfy_server, item) for item in job.outputs}
    pictures = [path for path in outputs if path.suffix == ".png"]
    assert len(pictures) == PICTURES.get(name, 1)
    for picture in pictures:
        assert_natural(picture)
    if name == "watch_any_workflow":
        (table,) = (path for path in outputs if path.name == "nodes.csv")
        check_nodes(pd.read_csv(table), job.prompt_id)
        return
    (table,) = (path for path in outputs if path.name == "runs.csv")
    assert {"summary.csv", "report.md"} <= {path.name for path in outputs}
    check_table(name, pd.read_csv(table))


def change_seeds(graph):
    """Other seeds than in the UI run, so that nothing comes from the cache."""
    for node in graph.values():
        if node["class_type"] != "WattBenchSyntheticModel":
            for key in {"seed", "noise_seed"} & node["inputs"].keys():
                node["inputs"][key] += 1000
        for key in {"text"} & node["inputs"].keys():
            node["inputs"][key] += ", again"


def assert_natural(path):
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        low, high = picture.convert("L").getextrema()
    assert high - low > 20


def check_table(name, table):
    measured = table[~table["is_warmup"]]
    assert measured["error"].isna().all()
    assert (measured["denoise_time_s"] > 0).all()
    assert measured["it_per_s"].to_numpy() == pytest.approx(
        (measured["steps"] / measured["denoise_time_s"]).to_numpy()
    )
    file_backed = name in ("sdxl_illustrious", "z_image_turbo")
    origins = {weights.split(" ")[0] for weights in measured["weights"]}
    assert origins == {"file" if file_backed else "synthetic"}
    assert (measured["peak_rss_bytes"] > 2**28).all()
    if name == "z_image_turbo":
        # A CPU has no FP8: ComfyUI widens the file's weights as it loads them, and that is told.
        assert set(measured["weight_format"]) == {"fp32"}
        assert set(measured["sampler"]) == {"res_multistep"}
    if name == "quantization_matrix":
        check_formats(measured, ["fp32", "fp8", "int8_w8a8", "nf4"])
    if name == "calibrated_fp8":
        check_formats(measured, ["fp8_static"])
    if name == "attention_matrix":
        check_matrix(measured)
    if name == "probe_any_workflow":
        assert measured["energy_note"].str.contains("text_encode, decode not measured").all()
        assert set(measured["nfe"]) == {7}
        assert measured["energy_j"].isna().all()
    else:
        assert (measured["img_per_s"] > 0).all()
        assert (measured["energy_j"] > 0).all()
        assert set(measured["energy_method"]) == {"estimated"}


def check_nodes(table, prompt_id):
    nodes = table[table["prompt_id"] == prompt_id].set_index("class_type")
    assert set(nodes.index) == {
        "WattBenchSyntheticModel",
        "CLIPTextEncode",
        "EmptyLatentImage",
        "KSampler",
        "VAEDecode",
        "SaveImage",
        "WattBenchWatchGraph",
    }
    assert set(nodes["state"]) <= {"executed", "cached"}
    sampler = nodes.loc["KSampler"]
    assert (sampler["state"], sampler["energy_method"]) == ("executed", "estimated")
    assert sampler["time_s"] > 0
    assert sampler["energy_j"] > 0


def check_formats(measured, formats):
    """Each format has its runs, and they say that a CPU computes none of them natively."""
    counts = measured["weight_format"].value_counts()
    assert set(counts.index) == set(formats)
    assert counts.nunique() == 1
    quantized = measured[measured["weight_format"] != "fp32"]
    assert quantized["linear_executed"].str.contains("dequantized|emulated").all()


def check_matrix(measured):
    """Three kernels in any order, on the same seeds; all draw what sdpa drew."""
    assert set(measured["attention"]) == {"sdpa", "sub_quadratic", "auto"}
    seeds = measured.groupby("attention")["seed"].apply(sorted)
    assert all(of_one == seeds["sdpa"] for of_one in seeds)
    executed = measured["attention_executed"].str
    assert executed.contains("vae sub_quadratic: 1").tolist() == [
        attention == "sub_quadratic" for attention in measured["attention"]
    ]
    assert (executed.extract(r"(\d+)", expand=False).astype(int) > 0).all()
    checked = measured[measured["attention"] != "sdpa"]
    assert checked["picture_fault"].isna().all()
    assert (checked["picture_ssim"] > 0.9).all()


STUDY = {
    "sdxl": {
        "width": 1024,
        "height": 1024,
        "steps": 30,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "warmup_runs": 2,
        "repeats": 10,
    },
    "z_image": {
        "width": 1024,
        "height": 1024,
        "steps": 8,
        "cfg": 1.0,
        "sampler_name": "res_multistep",
        "scheduler": "linear_quadratic",
        "warmup_runs": 2,
        "repeats": 10,
    },
}


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("sdxl_illustrious", "sdxl"),
        ("sdxl_synthetic", "sdxl"),
        ("z_image_turbo", "z_image"),
        ("z_image_turbo_synthetic", "z_image"),
    ],
)
def test_settings_of_the_study(name, run):
    """What the workflow as shipped asks for, and its note on the study's two values of CFG."""
    nodes = json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))["nodes"]
    (benchmark,) = (node for node in nodes if node["type"] == "WattBenchBenchmark")
    for widget, value in STUDY[run].items():
        assert benchmark["widgets_values"][widget_index(benchmark, widget)] == value
    (note,) = (node for node in nodes if node["type"] == "MarkdownNote")
    assert re.search(
        r"gives CFG [\d.]+ in its text and 7\.0 in its table", note["widgets_values"][0]
    )


def test_missing_file_is_named(run, tmp_path):
    workflow = reduce("sdxl_illustrious")
    (loader,) = (n for n in workflow["nodes"] if n["type"] == "WattBenchLoadCheckpoint")
    loader["widgets_values"][0] = "not_there.safetensors"
    path = tmp_path / "missing.json"
    path.write_text(json.dumps(workflow), "utf-8")
    assert "not_there.safetensors" in run(path).error


def test_wrong_type_is_named(comfy_server, run, tmp_path):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(reduce("quickstart")), "utf-8")
    graph = to_api_format(comfy_server.client, path)
    (benchmark,) = (n for n in graph.values() if n["class_type"] == "WattBenchBenchmark")
    benchmark["inputs"]["vae"] = benchmark["inputs"]["clip"]
    path.write_text(json.dumps(graph), "utf-8")
    assert "CLIP" in run(path).error
