"""A report names the formats of a file as the model does that is loaded from it."""

import json

import pytest
import torch
from safetensors.torch import save_file

from wattbench.quant.convert import Request, convert_file
from wattbench.quant.formats import find
from wattbench.quant.report import report_file


def formats_told(model, file, models_folder):
    """By layer, the formats that a report says of a file and of the MODEL loaded from it."""
    from wattbench.hosts.comfyui.quantized.report import report_model

    reports = report_file(models_folder / file), report_model(model, None)
    told = [{x.name: (x.format, x.is_quantized) for x in report.layers} for report in reports]
    return told[0], {name: told[1][name] for name in told[0]}


def old_layout(weights, mark):
    """ComfyUI's first layout of FP8 files; the size of the mark says how to compute."""
    tensors = {**weights, "scaled_fp8": torch.zeros(mark, dtype=torch.float8_e4m3fn)}
    names = [name for name in weights if ".img_mlp." in name and name.endswith(".weight")]
    for number, name in enumerate(names):
        stem = name.removesuffix("weight")
        tensors[name] = weights[name].to(torch.float8_e4m3fn)
        tensors[f"{stem}scale_weight"] = torch.tensor(2.0)
        tensors[f"{stem}scale_input"] = torch.tensor(1.0 + number)
    return tensors


def convert(source, target, name):
    scales = {"double_blocks.0.img_mlp.0": 0.01} if name == "fp8_static" else {}
    convert_file(source, target, Request(find(name), input_scales=scales))


@pytest.mark.parametrize(
    "name",
    [
        "fp8_w",
        "fp8",
        "fp8_static",
        "int8",
        "int8_w8a8",
        "nf4",
        "int4",
        "int4_gemm",
        "mxfp8",
        "nvfp4",
    ],
)
def test_report_and_model_name_our_formats_alike(name, flux, load, models_folder):
    file = "diffusion_models/made.safetensors"
    convert(models_folder / flux, models_folder / file, name)
    told, loaded = formats_told(load(file, compute_dtype="bf16"), file, models_folder)
    assert told == loaded
    assert name in {format_name for format_name, _ in told.values()}


def in_the_header(weights):
    layers = {}
    tensors = dict(weights)
    for name, config in (
        ("double_blocks.0.img_mlp.0", {"format": "float8_e4m3fn"}),
        ("double_blocks.0.img_mlp.2", {"format": "int8_tensorwise"}),
    ):
        (config_format,) = config.values()
        dtype = torch.int8 if config_format == "int8_tensorwise" else torch.float8_e4m3fn
        tensors[f"{name}.weight"] = weights[f"{name}.weight"].to(dtype)
        rows = len(weights[f"{name}.weight"]) if dtype == torch.int8 else 1
        tensors[f"{name}.weight_scale"] = torch.ones(rows, 1) if rows > 1 else torch.tensor(1.0)
        layers[name] = config
    return tensors, {"_quantization_metadata": json.dumps({"layers": layers})}


@pytest.mark.parametrize(
    ("make", "formats"),
    [
        (lambda weights: (old_layout(weights, 0), {}), {"fp8", "fp8_static", "bf16"}),
        (lambda weights: (old_layout(weights, 2), {}), {"fp8_w", "bf16"}),
        (in_the_header, {"fp8", "int8_w8a8", "bf16"}),
    ],
    ids=["old", "old, widened", "header"],
)
def test_report_and_model_name_formats_of_others_alike(
    make, formats, load, flux_weights, models_folder
):
    file = "diffusion_models/theirs.safetensors"
    tensors, metadata = make(flux_weights)
    save_file(tensors, models_folder / file, metadata)
    told, loaded = formats_told(load(file, compute_dtype="bf16"), file, models_folder)
    assert told == loaded
    assert {format_name for format_name, _ in told.values()} == formats


def test_report_and_model_name_gguf_alike_and_errors_are_told(gguf_file, flux, load, models_folder):
    file = "diffusion_models/flux-Q8_0.gguf"
    told, loaded = formats_told(load(file, compute_dtype="bf16"), file, models_folder)
    assert told == loaded
    assert {name for name, _ in told.values()} == {"gguf:Q8_0", "bf16"}
    report = report_file(gguf_file, models_folder / flux)
    layer = next(x for x in report.layers if x.format == "gguf:Q8_0")
    assert layer.bits_per_weight == 8.5
    assert 35 < layer.fidelity.sqnr_db < 60


def test_plain_fp8_is_named_alike_where_comfyui_keeps_it(
    load, flux_weights, models_folder, monkeypatch
):
    """As on a GPU; on a CPU ComfyUI widens such a file to fp32, and the model's report says so."""
    import comfy.model_management as management

    file = "diffusion_models/plain.safetensors"
    tensors = {
        name: tensor.to(torch.float8_e4m3fn) if tensor.ndim == 2 else tensor
        for name, tensor in flux_weights.items()
    }
    save_file(tensors, models_folder / file)
    told, loaded = formats_told(load(file), file, models_folder)
    assert set(told.values()) == {("float8_e4m3fn", True)}
    assert set(loaded.values()) == {("fp32", False)}
    monkeypatch.setattr(management, "unet_dtype", lambda **options: options["weight_dtype"])
    told, loaded = formats_told(load(file), file, models_folder)
    assert told == loaded
