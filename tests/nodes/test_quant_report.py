"""The report tells what lies in memory or in a file, and what was counted when it ran."""

import math

import pandas as pd
import pytest
import torch
from PIL import Image

SETTINGS = {
    "steps": 2,
    "cfg": 1.0,
    "sampler_name": "euler",
    "scheduler": "normal",
    "denoise": 1.0,
    "seed": 0,
}


@pytest.fixture
def quantize(comfyui, tiny_models):
    """A function that quantizes the tiny SDXL."""
    from wattbench.nodes.quantized import WattBenchQuantizeModel

    def run(name, calibration=None, layers=""):
        output = WattBenchQuantizeModel.execute(
            tiny_models().model, name, "auto", layers, calibration
        )
        return output.result[0]

    return run


@pytest.fixture
def sample(conditioning):
    """A function that samples with a MODEL."""
    from wattbench.hosts.comfyui.core import run_core

    return lambda model: run_core("KSampler", model=model, **conditioning, **SETTINGS)[0]


@pytest.fixture
def report(workspace_folder):
    """A function that runs the node and answers its table of layers and what it shows."""
    from wattbench.nodes.quant_report import WattBenchQuantReport

    def run(**inputs):
        files = {"file": "none", "reference_file": "none", "name": "report"}
        output = WattBenchQuantReport.execute(**{**files, **inputs})
        table = pd.read_csv(workspace_folder / "wattbench" / "report.csv").set_index("layer")
        return table, output.ui

    return run


def test_a_quantized_model_is_compared_with_its_reference(
    quantize, sample, report, tiny_models, workspace_folder
):
    original, quantized = tiny_models().model, quantize("nf4")
    sample(quantized)
    table, shown = report(model=quantized, reference=original)
    rows = table[table["format"] == "nf4"]
    assert len(rows) > 10
    assert rows["sqnr_db"].between(15, 30).all()
    assert rows["cosine"].between(0.98, 1).all()
    assert rows["bits_per_weight"].to_numpy() == pytest.approx(4.5, abs=0.01)
    assert set(rows["executed"]) == {"dequantized"}
    assert set(rows["call_count"]) == {2}
    convolutions = table[table["kind"] == "convolution"]
    assert len(convolutions) > 5
    assert (convolutions["sqnr_db"] == math.inf).all()
    assert set(convolutions["format"]) == {"fp32"}
    notes = " ".join(shown["wattbench_table"][0]["notes"])
    assert "convolutions, which no format touches" in notes
    assert "Which share of the FLOPs formats touch is not known" in notes
    with Image.open(workspace_folder / "wattbench" / "report.png") as picture:
        assert picture.width > 300
    assert [image["filename"] for image in shown["images"]] == ["report.png"]


def test_errors_of_the_report_are_those_of_the_weights(quantize, report, tiny_models):
    original, quantized = tiny_models().model, quantize("int8")
    table, _ = report(model=quantized, reference=original)
    name = table[table["format"] == "int8"].index[3]
    before = original.model.diffusion_model.get_submodule(name).weight.float()
    after = quantized.model.diffusion_model.get_submodule(name).weight.dequantize().float()
    assert table.loc[name, "max_error"] == pytest.approx((after - before).abs().max().item())
    noise = (after - before).square().sum() / before.square().sum()
    assert table.loc[name, "distortion"] == pytest.approx(noise.item(), rel=1e-4)
    assert table.loc[name, "sqnr_db"] == pytest.approx(-10 * math.log10(noise.item()), rel=1e-4)


def test_what_was_not_counted_or_compared_is_blank_with_a_reason(quantize, report):
    table, shown = report(model=quantize("fp8"))
    rows = table[table["format"] == "fp8"]
    assert rows["sqnr_db"].isna().all()
    assert rows["executed"].isna().all()
    assert set(rows["note"]) == {"no reference was given"}
    assert "images" not in shown
    assert any("No plot" in note for note in shown["wattbench_table"][0]["notes"])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [({}, "connect a MODEL, or choose a file"), ({"name": "a/b"}, "without a folder")],
)
def test_what_cannot_be_reported_is_said_first(report, inputs, message):
    with pytest.raises(ValueError, match=message):
        report(**inputs)


def test_another_architecture_as_reference_is_said_in_every_row(quantize, report, tiny_models):
    table, _ = report(model=quantize("fp8"), reference=tiny_models("flux").model)
    rows = table[table["format"] == "fp8"]
    assert set(rows["note"]) == {"the reference has no such layer"}
    assert rows["sqnr_db"].isna().all()


def test_a_calibrated_model_holds_the_scales(quantize, tiny_models, conditioning, workspace_folder):
    from wattbench.nodes.calibrate import WattBenchCalibrate

    settings = {k: v for k, v in {**SETTINGS, **conditioning}.items() if k != "denoise"}
    prompts = {"prompt0": settings.pop("positive")}
    calibration = WattBenchCalibrate.execute(
        tiny_models().model, prompts, percentile=100.0, layers="", name="scales", **settings
    ).result[0]
    quantized = quantize("fp8_static", calibration)
    held = {
        name: module.input_scale.item()
        for name, module in quantized.model.diffusion_model.named_modules()
        if getattr(module, "input_scale", None) is not None
    }
    assert held == pytest.approx(calibration.input_scales)


def test_a_model_is_quantized_beside_the_given_one(quantize, sample, tiny_models):
    original = tiny_models().model
    before = sample(original)["samples"]
    quantized = quantize("int8_w8a8", layers="middle_block.*")
    after = sample(quantized)["samples"]
    assert not torch.equal(before, after)
    assert torch.equal(sample(original)["samples"], before)
    middle = quantized.model.diffusion_model.middle_block
    assert {getattr(m, "quant_format", None) for m in middle.modules()} == {None}
