"""Graphs of several samplings, lists and guiders, with values that were counted independently."""

import hashlib
import json
import math

import pytest
from PIL import Image

from wattbench.report import runs_frame

from ..in_prompt import case


@pytest.fixture
def forwards(comfyui, monkeypatch):
    """Rows and text tokens of each forward, as ComfyUI's base class of models is called."""
    import comfy.model_base

    seen = []
    original = comfy.model_base.BaseModel._apply_model

    def counting(self, x, t, c_concat=None, c_crossattn=None, *args, **kw):
        seen.append((x.shape[0], c_crossattn.shape[1]))
        return original(self, x, t, c_concat, c_crossattn, *args, **kw)

    monkeypatch.setattr(comfy.model_base.BaseModel, "_apply_model", counting)
    return seen


def row_of(runs):
    (row,) = runs_frame(runs).to_dict("records")
    return row


def counted(run):
    """Rows and tokens of each forward of a run, without its order."""
    return sorted(
        (calls.shape[0], calls.token_count)
        for sampling in run.samplings
        for calls in sampling.forwards
        for _ in range(calls.call_count)
    )


def test_two_samplings_are_one_run_of_thirteen_steps(execute, forwards):
    runs = execute(case("hires_fix"))
    row = row_of(runs)
    (run,) = runs
    assert counted(run) == sorted(forwards)
    assert [(s.steps, s.steps_made, s.nfe, s.width_px) for s in run.samplings] == [
        (8, 8, 8, 64),
        (5, 5, 5, 192),
    ]
    assert (row["steps"], row["steps_made"], row["nfe"], row["sampling_count"]) == (13, 13, 13, 2)
    assert (row["width_px"], row["height_px"], row["batch_size"]) == (192, 192, 1)
    denoise_s = sum(phase.duration_s for phase in run.phases if phase.name == "denoise")
    assert row["it_per_s"] == pytest.approx(13 / denoise_s)
    assert row["j_per_step"] == pytest.approx(row["denoise_pooled_j"] / 13)
    assert row["denoise_pooled_j"] == pytest.approx(100 * denoise_s, rel=0.02)


def test_a_list_is_one_run_of_three_pictures(execute, forwards):
    runs = execute(case("latent_list"))
    row = row_of(runs)
    assert counted(runs[0]) == sorted(forwards)
    assert (row["sampling_count"], row["steps_made"], row["batch_size"]) == (3, 12, 3)
    assert len(forwards) == 12


class TwoNumbers:
    """A number and its double, as a list; the second is not what stands in the node."""

    RETURN_TYPES = ("INT",)
    OUTPUT_IS_LIST = (True,)
    FUNCTION = "give"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"value": ("INT", {"default": 1})}}

    def give(self, value):
        return ([value, 2 * value],)


class Doubled(TwoNumbers):
    OUTPUT_IS_LIST = (False,)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"half": ("INT", {"default": 1})}}

    def give(self, half):
        return (2 * half,)


@pytest.fixture
def numbers(execute, comfyui):
    """Nodes that give numbers over a wire, in core's graph of one sampling."""
    comfyui.NODE_CLASS_MAPPINGS.update(TwoNumbers=TwoNumbers, Doubled=Doubled)
    graph = case("latent_list")
    graph = {name: node for name, node in graph.items() if node["class_type"] != "RebatchLatents"}
    graph["l"]["inputs"]["batch_size"] = 1
    graph["k"]["inputs"]["latent_image"] = ["l", 0]
    return graph


@pytest.mark.parametrize("value", ["image", "latent"])
def test_pictures_of_two_sizes_have_none(execute, numbers, value):
    if value == "latent":
        numbers["c"]["inputs"]["value"] = ["k", 0]
        del numbers["pv"]
    numbers["n"] = {"class_type": "TwoNumbers", "inputs": {"value": 64}}
    numbers["l"]["inputs"]["width"] = ["n", 0]
    (run,) = execute(numbers)
    assert [sampling.width_px for sampling in run.samplings] == [64, 128]
    assert (run.condition.width_px, run.condition.height_px) == (None, None)
    assert run.condition.batch_size == 2


@pytest.mark.parametrize(
    ("kind", "inputs", "steps"),
    [
        ("TwoNumbers", {"value": 2}, 2 + 4),
        ("Doubled", {"half": 2}, 4),
        ("PrimitiveInt", {"value": 3}, 3),
    ],
)
def test_steps_that_a_node_computes_are_those_of_the_schedule(
    execute, numbers, kind, inputs, steps
):
    """What stands in the node is not what it gives."""
    numbers["n"] = {"class_type": kind, "inputs": inputs}
    numbers["k"]["inputs"]["steps"] = ["n", 0]
    row = row_of(execute(numbers))
    assert (row["steps"], row["steps_made"]) == (steps, steps)


def test_more_prompts_are_other_work(execute, forwards):
    graph = case("combined_conditions")
    (combined,) = execute(graph)
    assert counted(combined) == sorted(forwards)
    forwards.clear()
    graph["k"]["inputs"]["positive"] = ["pos", 0]
    (plain,) = execute(graph)
    assert counted(plain) == sorted(forwards) == [(2, 77)] * 4
    frame = runs_frame([combined, plain])
    assert frame["condition"].nunique() == frame["condition_id"].nunique() == 2
    assert "4 evaluations of 2x4x8x8, 77 tokens" in frame["condition"].iloc[1]
    assert sum(rows for rows, _ in counted(combined)) > 8


def test_a_guider_with_two_scales_is_named_and_its_rows_are_counted(execute, forwards):
    runs = execute(case("perp_neg"))
    row = row_of(runs)
    assert sum(rows for rows, _ in forwards) == 12
    assert counted(runs[0]) == sorted(forwards)
    assert row["guidance"] == "PerpNeg cfg 7 neg_scale 1"
    assert row["guidance"] in row["condition"]
    assert (row["nfe"], row["steps"], row["steps_made"]) == (4, 4, 4)


def test_work_that_no_probe_saw_leaves_no_joules_per_image(execute):
    graph = case("img2img_unmeasured_encode")
    row = row_of(execute(graph))
    assert math.isnan(row["j_per_img"])
    assert math.isnan(row["img_per_s"])
    assert "VAEEncode (" in row["energy_note"]
    assert row["unmeasured"].startswith("VAEEncode (")
    graph["k"]["inputs"]["latent_image"] = ["l", 0]
    row = row_of(execute(graph))
    assert row["unmeasured"] == ""
    assert row["j_per_img"] > 0


def saved_pictures(folder):
    """Values and text of each PNG that a graph has saved, in order."""
    found = []
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            found.append(
                (hashlib.sha256(image.tobytes()).hexdigest(), json.loads(image.text["prompt"]))
            )
    return found


def test_a_saved_picture_names_its_run(execute, workspace_folder):
    """Saved by core's SaveImage behind Collect Runs, by a prompt that has no page's metadata."""
    graph = case("hires_fix")
    collect = next(name for name, node in graph.items() if node["class_type"] == "WattBenchCollect")
    inputs = {"images": [collect, 0], "filename_prefix": "moth"}
    graph["save"] = {"class_type": "SaveImage", "inputs": inputs}
    (run,) = execute(graph)
    [(values, prompt)] = saved_pictures(workspace_folder)
    assert prompt[collect]["_meta"]["wattbench_runs"] == {run.run_id: values}
    assert run.picture.sha256 == values


def test_pictures_of_a_benchmark_name_its_repeats(execute, workspace_folder):
    """Two pictures, two repeats; the warm-up has none."""
    runs = execute(
        {
            "m": {
                "class_type": "WattBenchSyntheticModel",
                "inputs": {"architecture": "sdxl", "size": "tiny", "dtype": "fp32", "seed": 0},
            },
            "b": {
                "class_type": "WattBenchBenchmark",
                "inputs": {
                    "model": ["m", 0],
                    "clip": ["m", 1],
                    "vae": ["m", 2],
                    **{"positive": "a moth", "negative": "", "seed": 3, "width": 64, "height": 64},
                    **{"batch_size": 1, "steps": 2, "cfg": 7.0, "sampler_name": "euler"},
                    **{"scheduler": "normal", "warmup_runs": 1, "repeats": 2},
                    **{"idle_seconds": 0.0, "meter": "auto", "max_warmup_seconds": 0.0},
                },
                "_meta": {"title": "mine"},
            },
            "s": {
                "class_type": "SaveImage",
                "inputs": {"images": ["b", 0], "filename_prefix": "moth"},
            },
        }
    )
    repeats = {run.run_id: run.picture.sha256 for run in runs if not run.is_warmup}
    pictures = saved_pictures(workspace_folder)
    assert [values for values, _ in pictures] == list(repeats.values())
    for _, prompt in pictures:
        assert prompt["b"]["_meta"] == {"title": "mine", "wattbench_runs": repeats}
