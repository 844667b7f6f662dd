"""Tuning in the real ComfyUI on the CPU finds what truly is faster, and nothing that is broken.

The workflows begin with an attention that is slow by design, at a size where it matters.
"""

import json

import pytest
import torch
from safetensors.torch import save_file

from wattbench.cli import main
from wattbench.cli.matrix import WORKFLOWS
from wattbench.study.canvas import is_canvas, put_on_canvas
from wattbench.study.levels import Levels
from wattbench.study.measured import instrumented
from wattbench.study.outcome import TUNED, write_outcome
from wattbench.study.pictures import Gallery, distance, load
from wattbench.study.rig import RunningRig
from wattbench.study.search import Lever, Rule, Search
from wattbench.study.tune import Tuning
from wattbench.study.wiring import Node, Target

from .graphs import node, sdxl, second_sampler

SIDE_PX, SHOWN_PX = 768, 64
"""Attention takes most of an image's time where only a corner of it is decoded."""

SLOW = {"backend": "sdpa_math", "strict": False, "max_error": 0.05, "timed": False}
CORNER = {"width": SHOWN_PX, "height": SHOWN_PX, "x": 0, "y": 0}
FAST, FALLS_BACK = ("attention", "sdpa"), ("attention", "sage_2")
RULE = Rule(hopeless=2.0, blocks_min=3, blocks_max=6, half_width=0.05)


def slow_canvas(bench, seed):
    """A shipped workflow as its page has it, without its watch, with the slow attention in it."""
    workflow = json.loads((WORKFLOWS / "watch_any_workflow.json").read_text("utf-8"))
    workflow["nodes"] = [n for n in workflow["nodes"] if n["type"] != "WattBenchWatchGraph"]
    ids = {one["type"]: str(one["id"]) for one in workflow["nodes"]}
    for one in workflow["nodes"]:
        if one["type"] == "EmptyLatentImage":
            one["widgets_values"] = [SIDE_PX, SIDE_PX, 1]
        if one["type"] == "KSampler":
            one["widgets_values"][0], one["widgets_values"][2] = seed, 1
    own = [
        Node("WattBenchAttentionBackend", "MODEL", SLOW),
        Node("LatentCrop", "LATENT", CORNER),
    ]
    targets = [
        ("MODEL", Target(ids["KSampler"], "model")),
        ("LATENT", Target(ids["VAEDecode"], "samples")),
    ]
    return put_on_canvas(workflow, own, targets, bench.definitions)


def slow_graph(seed):
    graph = sdxl(size_px=SIDE_PX, steps=1, seed=seed)
    graph["5"]["inputs"]["model"] = ["20", 0]
    graph["6"]["inputs"]["samples"] = ["22", 0]
    slow = node("WattBenchAttentionBackend", model=["1", 0], **SLOW)
    return {**graph, "20": slow, "22": node("LatentCrop", samples=["5", 0], **CORNER)}


def slow_advanced(seed, lora):
    """A LoRA, KSampler, and SamplerCustomAdvanced behind it."""
    graph = slow_graph(seed)
    graph["21"] = node(
        "LoraLoader",
        model=["20", 0],
        clip=["1", 1],
        lora_name=lora,
        strength_model=0.5,
        strength_clip=0.0,
    )
    graph["5"]["inputs"]["model"] = ["21", 0]
    graph = second_sampler(graph, ["21", 0], steps=1)
    graph["6"]["inputs"]["samples"] = ["22", 0]
    graph["22"]["inputs"]["samples"] = ["12", 0]
    return graph


@pytest.fixture
def lora(comfy_server, tiny_models):
    """The name of a LoRA of the tiny model, in the server's folder."""
    import comfy.lora

    model = tiny_models("sdxl").model.model
    state = model.state_dict()
    key, target = next(
        (key, target)
        for key, target in comfy.lora.model_lora_keys_unet(model, {}).items()
        if isinstance(target, str) and target.endswith("attn1.to_q.weight")
    )
    rows, columns = state[target].shape
    random = torch.Generator().manual_seed(0)
    folder = comfy_server.base_directory / "models" / "loras"
    folder.mkdir(exist_ok=True)
    save_file(
        {
            f"{key}.lora_up.weight": torch.randn(rows, 4, generator=random),
            f"{key}.lora_down.weight": torch.randn(4, columns, generator=random),
        },
        folder / "moth.safetensors",
    )
    return "moth.safetensors"


def check_tuned(bench, before, after):
    """The tuned workflow runs as it is, with the picture that the workflow makes."""
    made = []
    for workflow in (before, after):
        graph = bench.api_graph(workflow) if is_canvas(workflow) else workflow
        for one in graph.values():
            if "seed" in one["inputs"] and one["class_type"] == "KSampler":
                one["inputs"]["seed"] = 10**6
        prompt = bench.measure(instrumented(graph, bench.definitions), "check")
        assert prompt.error == ""
        made.append(load(prompt.pictures))
    assert distance(*made) < 0.01


@pytest.mark.soak("minutes")
@pytest.mark.parametrize("kind", ["canvas", "advanced"])
def test_what_is_faster_is_found_and_what_falls_back_never_wins(
    kind, comfy_server, tmp_path, request
):
    rig = RunningRig(comfy_server.client, tmp_path, 600)
    with rig.open((), "proof") as bench:
        if kind == "canvas":
            workflow = slow_canvas(bench, 5000)
        else:
            workflow = slow_advanced(6000, request.getfixturevalue("lora"))
        levers = (Lever("attention", ("sdpa", "sage_2") if kind == "canvas" else ("sdpa",)),)
        tuning = Tuning(workflow, rig, Search(levers, RULE, 0), "s_per_img", 1, 1e9, Gallery())
        verdict = tuning.run()
        assert verdict.winner == (FAST,)
        assert verdict.ratio.ci_high < 1
        assert list(tuning.search.faults) == ([(FALLS_BACK,)] if kind == "canvas" else [])
        text = write_outcome(tuning, Levels(levers, ()), tmp_path)
        assert text.startswith("Set attention=sdpa: an image takes ")
        tuned = json.loads((tmp_path / TUNED).read_text("utf-8"))
        assert is_canvas(tuned) == is_canvas(workflow)
        check_tuned(bench, workflow, tuned)


@pytest.mark.soak("minutes")
def test_a_file_in_api_format_is_tuned_from_the_command_line(comfy_server, tmp_path, capsys):
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(slow_graph(7000)), "utf-8")
    line = ["tune", str(file), "--out", str(tmp_path / "out"), "--repeats", "1", "--json"]
    line += ["--levers", "attention=sdpa", "--server", comfy_server.client.address]
    assert main(line) == 0
    events = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert events[0]["event"] == "levers"
    assert events[-1]["event"] == "end"
    assert events[-1]["verdict"].startswith("Set attention=")
    assert events[-1]["tuned"]
    rig = RunningRig(comfy_server.client, tmp_path, 600)
    with rig.open((), "proof") as bench:
        tuned = json.loads((tmp_path / "out" / TUNED).read_text("utf-8"))
        assert {key: tuned[key]["class_type"] for key in slow_graph(1)} == {
            key: one["class_type"] for key, one in slow_graph(1).items()
        }
        check_tuned(bench, slow_graph(7000), tuned)
    for name in ("report.html", "report.md", "runs.csv", "summary.csv", "candidates.csv"):
        assert (tmp_path / "out" / name).is_file()
