"""Calibration sees what goes into the layers, leaves the model alone, and its scales are good."""

import json
import math

import pytest
import torch

SETTINGS = {
    "seed": 0,
    "steps": 2,
    "cfg": 2.0,
    "sampler_name": "euler",
    "scheduler": "normal",
    "percentile": 100.0,
    "layers": "",
    "name": "ranges",
}


@pytest.fixture
def inputs(comfyui, tiny_models, conditioning):
    positive = conditioning.pop("positive")
    return {"model": tiny_models().model, "prompts": {"prompt0": positive}, **conditioning}


@pytest.fixture
def calibrate(inputs, workspace_folder):
    """A function that runs the node on the tiny SDXL; keywords change its inputs."""
    from wattbench.nodes.calibrate import WattBenchCalibrate

    def run(**changes):
        return WattBenchCalibrate.execute(**{**inputs, **SETTINGS, **changes})

    return run


def hooks(model):
    return [m for m in model.model.diffusion_model.modules() if m._forward_pre_hooks]


def linear_inputs(model, prompts, **settings):
    """The inputs of every linear layer over the same samplings, by another kind of hook."""
    from wattbench.hosts.comfyui.core import run_core
    from wattbench.hosts.comfyui.linear import linear_layers

    seen, handles = {}, []

    def keep(name):
        def hook(module, args, output):
            seen.setdefault(name, []).append(args[0].detach().float().flatten().abs())

        return hook

    for name, module, _ in linear_layers(model):
        handles.append(module.register_forward_hook(keep(name)))
    for number, positive in enumerate(prompts.values()):
        run_core(
            "KSampler",
            **{
                **{k: v for k, v in settings.items() if k not in ("percentile", "layers", "name")},
                "model": model,
                "positive": positive,
                "seed": settings["seed"] + number,
                "denoise": 1.0,
            },
        )
    for handle in handles:
        handle.remove()
    return seen


def test_ranges_are_those_of_the_layers_inputs(calibrate, inputs):
    made = calibrate(percentile=99.0).result[0]
    others = {k: v for k, v in inputs.items() if k not in ("model", "prompts")}
    seen = linear_inputs(inputs["model"], inputs["prompts"], **{**SETTINGS, **others})
    assert made.layers
    for name, found in made.layers.items():
        values = torch.cat(seen[name])
        assert found.amax == pytest.approx(values.max().item(), rel=1e-6)
        level = values.sort().values[math.ceil(0.99 * len(values)) - 1].item()
        assert found.limit == pytest.approx(level, rel=2**-8)
        assert found.input_scale == pytest.approx(found.limit / 448)
        assert found.call_count == len(seen[name])
    assert not hooks(inputs["model"])


def test_the_file_holds_what_goes_on(calibrate, workspace_folder):
    from wattbench.quant.calibrate import Calibration

    output = calibrate()
    path = workspace_folder / "wattbench" / "ranges.json"
    assert Calibration.load(path) == output.result[0]
    assert json.loads(path.read_text("utf-8"))["model"] == "synthetic sdxl tiny"
    assert [file["filename"] for file in output.ui["files"]] == ["ranges.json"]
    (table,) = output.ui["wattbench_table"]
    assert len(table["rows"]) == 12
    assert all(len(row) == len(table["headings"]) for row in table["rows"])


def test_more_prompts_widen_the_ranges_and_never_narrow_them(calibrate, inputs):
    (prompt,) = inputs["prompts"].values()
    louder = [[prompt[0][0] * 3, prompt[0][1]]]
    one, two = calibrate(), calibrate(prompts={"prompt0": prompt, "prompt1": louder})
    pairs = [(two.result[0].layers[name], x) for name, x in one.result[0].layers.items()]
    assert all(more.amax >= fewer.amax for more, fewer in pairs)
    assert any(more.amax > 1.5 * fewer.amax for more, fewer in pairs)
    assert all(more.call_count == 2 * fewer.call_count for more, fewer in pairs)


def test_kept_layers_are_not_calibrated(calibrate):
    layers = calibrate(layers="middle_block.*").result[0].layers
    assert not [name for name in layers if name.startswith("middle_block")]
    assert [name for name in layers if name.startswith("output_blocks")]


def test_hooks_go_when_sampling_fails(calibrate, inputs):
    (prompt,) = inputs["prompts"].values()
    too_narrow = [[prompt[0][0][..., 1:], prompt[0][1]]]
    with pytest.raises(RuntimeError):
        calibrate(prompts={"prompt0": too_narrow})
    assert not hooks(inputs["model"])


def test_layers_that_overflow_are_named(calibrate, inputs):
    (prompt,) = inputs["prompts"].values()
    broken = [[prompt[0][0] * float("inf"), prompt[0][1]]]
    with pytest.raises(ValueError, match=r"the inputs of .*attn2.* hold NaN or infinities"):
        calibrate(prompts={"prompt0": broken}, steps=1)


def test_static_scales_lose_no_more_than_a_fifth_above_dynamic_ones(calibrate, inputs):
    """Over all calibrated layers, with the inputs of another seed than the calibration's."""
    from wattbench.hosts.comfyui.linear import linear_layers
    from wattbench.quant.formats import find

    made = calibrate().result[0]
    others = {k: v for k, v in inputs.items() if k not in ("model", "prompts")}
    settings = {**SETTINGS, **others, "seed": 7}
    seen = linear_inputs(inputs["model"], inputs["prompts"], **settings)
    fp8, static, dynamic = find("fp8"), 0.0, 0.0
    for name, module, _ in linear_layers(inputs["model"]):
        if name in made.layers:
            weight = fp8.dequantize(fp8.quantize(module.weight.detach()), torch.float32)
            x = seen[name][-1].reshape(-1, module.in_features)
            exact = x @ module.weight.detach().float().T
            for_scale = {
                "static": made.input_scales[name],
                "dynamic": x.max().item() / 448,
            }
            errors = {
                kind: relative_error(rounded(x, scale) @ weight.T, exact)
                for kind, scale in for_scale.items()
            }
            static += errors["static"]
            dynamic += errors["dynamic"]
    assert dynamic > 0
    assert static <= 1.2 * dynamic


def rounded(x, scale):
    return (x / scale).clamp(-448, 448).to(torch.float8_e4m3fn).float() * scale


def relative_error(value, exact):
    return ((value - exact).norm() / exact.norm()).item() if exact.norm() > 0 else 0.0
