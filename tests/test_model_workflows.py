"""The workflows of models: as their table has them, and each twin runs in the real ComfyUI."""

import json

import pandas as pd
import pytest
import tomllib
import torch
from safetensors.torch import save_file

from tooling.model_workflows import FOLDER, FOLDERS, TABLE, TWINS, workflows
from wattbench.hosts.remote.comfy_run import run_workflow
from wattbench.hosts.remote.definitions import definitions_of

MODELS = {model["name"]: model for model in tomllib.loads(TABLE.read_text("utf-8"))["model"]}
OF_A_KIND = {
    (m["architecture"], m.get("sigmas"), m.get("model_sampling")): m["name"]
    for m in MODELS.values()
}
"""One model for each that has other nodes or another architecture in its twin."""
PX = 64
FEW = {"width": PX, "height": PX, "warmup_runs": 0, "repeats": 1, "idle_seconds": 0.0}


def nodes_of(workflow):
    return {node["type"]: node for node in workflow["nodes"]}


def widgets(node):
    """The values of a node's widgets by their names."""
    names = []
    for entry in node["inputs"]:
        if "widget" in entry:
            names += [entry["name"], "control"] if entry["name"] == "seed" else [entry["name"]]
    return dict(zip(names, node["widgets_values"], strict=True))


def set_widgets(node, **values):
    node["widgets_values"] = list({**widgets(node), **values}.values())


def test_the_files_are_what_the_table_says():
    """``python tasks.py workflows`` writes them."""
    for path, workflow in workflows().items():
        assert json.loads(path.read_text("utf-8")) == workflow, path


def test_there_is_no_other_twin():
    assert set((FOLDER / TWINS).iterdir()) == {path for path in workflows() if TWINS in path.parts}


@pytest.mark.parametrize("name", MODELS)
def test_a_twin_differs_in_its_loaders_alone(name):
    of_files, twin = (
        nodes_of(workflows()[FOLDER / f"{n}.json"]) for n in (name, f"{TWINS}/{name}")
    )
    loaders = {kind for kind in of_files if kind not in twin}
    assert set(twin) - set(of_files) == {"WattBenchSyntheticModel"}
    assert loaders <= {
        "CheckpointLoaderSimple", "UNETLoader", "DualCLIPLoader", "CLIPLoader", "VAELoader",
        "LoraLoaderModelOnly",
    }  # fmt: skip
    for kind in set(twin) & set(of_files) - {"MarkdownNote", "SaveImage", "WattBenchExportCSV"}:
        assert twin[kind]["widgets_values"] == of_files[kind]["widgets_values"]


@pytest.mark.parametrize("name", MODELS)
def test_files_are_named_with_where_they_go(name):
    for node in workflows()[FOLDER / f"{name}.json"]["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        named = {FOLDERS[key]: value for key, value in widgets(node).items() if key in FOLDERS}
        models = node["properties"].get("models", [])
        assert {model["directory"] for model in models} == set(named)
        assert set(named.values()) <= {model["name"] for model in models}
        assert all(model["url"].startswith("https://huggingface.co/") for model in models)


@pytest.mark.parametrize("path", workflows(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_comfyui_knows_all_that_is_chosen(comfy_server, path):
    definitions = definitions_of(comfy_server.client.get_json("/object_info"))
    for node in workflows()[path]["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        known = {item.name: item for item in definitions[node["type"]].inputs}
        for name, value in widgets(node).items():
            if name != "control" and name not in FOLDERS and known[name].choices:
                assert value in known[name].choices


@pytest.mark.parametrize("name", OF_A_KIND.values())
def test_a_twin_runs(comfy_server, tmp_path, name):
    workflow = workflows()[FOLDER / TWINS / f"{name}.json"]
    set_widgets(nodes_of(workflow)["WattBenchSyntheticModel"], size="tiny")
    run = run_small(comfy_server, tmp_path, workflow)
    model = MODELS[name]
    assert run["architecture"] == model["architecture"]
    assert run["weights"] == "synthetic"
    assert (run["steps"], run["cfg"]) == (model["steps"], model["cfg"])
    assert run["sampler"] == model["sampler"]
    assert run["nfe"] == model["steps"]


@pytest.mark.parametrize("name", ["sdxl_turbo", "lcm_sdxl"])
def test_files_of_the_real_layout_run(comfyui, comfy_server, tmp_path, name):
    """A reduced SDXL checkpoint, and for LCM a LoRA that changes two of its layers."""
    from .reduced_checkpoints import write_sdxl_checkpoint

    models = comfy_server.base_directory / "models"
    model = MODELS[name]
    (checkpoint, _) = model["checkpoint"]["ckpt_name"]
    for folder in ("checkpoints", "loras"):
        (models / folder).mkdir(parents=True, exist_ok=True)
    write_sdxl_checkpoint(models / "checkpoints" / checkpoint)
    for lora, _ in model.get("lora", {}).values():
        write_lora(models / "loras" / lora)
    run = run_small(comfy_server, tmp_path, workflows()[FOLDER / f"{name}.json"])
    assert run["weights"].startswith("file ")
    assert run["scheduler"].startswith("sigmas") == (name == "sdxl_turbo")
    assert run["steps_made"] == model["steps"]


def write_lora(path):
    """For the two layers that SDXL's UNet sees the time through."""
    weights = {}
    for layer, inputs in (("time_embed_0", 320), ("time_embed_2", 1280)):
        weights[f"lora_unet_{layer}.lora_up.weight"] = torch.full((1280, 4), 0.01)
        weights[f"lora_unet_{layer}.lora_down.weight"] = torch.full((4, inputs), 0.01)
    save_file(weights, path)


def run_small(comfy_server, tmp_path, workflow):
    """Run a workflow at 64 x 64, once; its row."""
    nodes = nodes_of(workflow)
    set_widgets(nodes["WattBenchBenchmark"], **FEW)
    if "Flux2Scheduler" in nodes:
        set_widgets(nodes["Flux2Scheduler"], width=PX, height=PX)
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(workflow), "utf-8")
    job = run_workflow(comfy_server.client, path, 600, lambda event: None)
    assert job.error == ""
    folder = widgets(nodes["WattBenchExportCSV"])["folder"]
    runs = pd.read_csv(comfy_server.base_directory / "output" / folder / "runs.csv")
    (row,) = runs.to_dict("records")
    assert pd.isna(row["error"])
    return row
