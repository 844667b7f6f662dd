"""Errors are those of the definitions, and what cannot be compared is blank with a reason."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from wattbench.quant.convert import Request, convert_file
from wattbench.quant.fidelity import Fidelity, compare
from wattbench.quant.files import FileError
from wattbench.quant.formats import find
from wattbench.quant.plots import gaussian_bound
from wattbench.quant.report import report_file
from wattbench.quant.tables import notes, rows


@pytest.fixture
def original(tmp_path):
    random = torch.Generator().manual_seed(0)
    path = tmp_path / "original.safetensors"
    tensors = {f"blocks.{i}.w.weight": torch.randn(128, 256, generator=random) for i in range(3)}
    save_file({**tensors, "blocks.0.w.bias": torch.zeros(128)}, path)
    return path


def test_compare_follows_the_definitions(monkeypatch):
    random = torch.Generator().manual_seed(1)
    x = torch.randn(37, 53, generator=random, dtype=torch.float64)
    y = x + 0.1 * torch.randn(37, 53, generator=random, dtype=torch.float64)
    monkeypatch.setattr("wattbench.quant.fidelity.ROWS_ELEMENTS", 100)
    found = compare(x, y)
    noise = (y - x).square().sum() / x.square().sum()
    assert found.distortion == pytest.approx(noise.item())
    assert found.sqnr_db == pytest.approx(10 * math.log10(1 / noise.item()))
    assert found.cosine == pytest.approx(
        torch.nn.functional.cosine_similarity(x.flatten(), y.flatten(), dim=0).item()
    )
    assert found.max_error == pytest.approx((y - x).abs().max().item())


def test_equal_weights_and_zeros():
    x = torch.arange(1.0, 17.0).reshape(4, 4)
    assert compare(x, x).sqnr_db == math.inf
    assert compare(x, x).cosine == pytest.approx(1)
    zero = compare(torch.zeros(4), torch.ones(4))
    assert (zero.sqnr_db, zero.distortion, zero.cosine) == (None, None, None)
    with pytest.raises(ValueError, match="cannot be compared"):
        compare(x, x[:2])


def test_layers_add_up():
    x, y = torch.randn(2, 2, 50, generator=torch.Generator().manual_seed(0))
    whole = compare(x, y)
    sums = compare(x[0], y[0]) + compare(x[1], y[1])
    for name, value in vars(whole).items():
        assert getattr(sums, name) == pytest.approx(value), name
    assert isinstance(sums, Fidelity)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_and_infinities_are_told_and_are_no_error_of_zero(original, tmp_path, value):
    broken = tmp_path / "broken.safetensors"
    tensors = load_file(original)
    tensors["blocks.1.w.weight"][0, 0] = value
    save_file(tensors, broken)
    for pair, which in (((broken, original), "it"), ((original, broken), "the reference")):
        report = report_file(*pair)
        assert report.layers[1].note == f"{which} holds NaN or infinities"
        assert report.layers[1].fidelity is None
        assert report.layers[0].fidelity.sqnr_db == math.inf
        assert "Layers with NaN or infinities, here or in the reference: 1 (blocks.1.w)." in notes(
            report
        )


@pytest.mark.parametrize("name", ["fp8_w", "fp8", "int8", "int8_w8a8", "nf4", "int4", "int4_gemm"])
def test_a_files_errors_are_those_of_its_format(original, tmp_path, name):
    made = tmp_path / "made.safetensors"
    convert_file(original, made, Request(find(name)))
    report = report_file(made, original)
    layer = report.layers[0]
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(128, 256, generator=random)
    weight_format = find(name)
    restored = weight_format.dequantize(weight_format.quantize(weight), torch.float32)
    assert layer.fidelity.sqnr_db == pytest.approx(compare(weight, restored).sqnr_db, rel=1e-6)
    assert layer.format == name
    assert layer.shape == (128, 256)
    spec_bits = weight_format.bits_per_weight((128, 256))
    assert layer.bits_per_weight == pytest.approx(spec_bits, rel=0.02)
    assert report.fidelity.distortion > gaussian_bound(layer.bits_per_weight)
    assert report.share("matrix", quantized=True) == 1
    payload = sum(layer.stored_bytes for layer in report.layers) + 128 * 4
    assert report.stored_bytes == payload


def test_a_checkpoint_is_compared_with_its_bare_model(original, tmp_path):
    made, whole = tmp_path / "made.safetensors", tmp_path / "whole.safetensors"
    convert_file(original, made, Request(find("fp8")))
    inner = {f"model.diffusion_model.blocks.{i}.w.weight": torch.zeros(128, 256) for i in range(6)}
    save_file({**inner, "first_stage_model.w.weight": torch.zeros(64, 64)}, whole)
    report = report_file(made, whole)
    assert [layer.note for layer in report.layers] == ["", "", ""]
    assert report.fidelity.signal == 0
    assert report_file(whole).weight_count == 6 * 128 * 256


def test_reasons(original, tmp_path):
    made = tmp_path / "made.safetensors"
    convert_file(original, made, Request(find("fp8")))
    other = tmp_path / "other.safetensors"
    save_file({"blocks.0.w.weight": torch.zeros(64, 64)}, other)
    first, second, _ = report_file(made, other).layers
    assert first.note == "the reference's shape is (64, 64)"
    assert second.note == "the reference has no such layer"
    assert first.fidelity is second.fidelity is None
    assert {layer.note for layer in report_file(made).layers} == {"no reference was given"}


def test_layouts_of_others_are_named_and_read_where_that_is_known(original, tmp_path):
    """ComfyUI's first FP8 layout, and a format of its own that is not ours."""
    weight = torch.randn(128, 256, generator=torch.Generator().manual_seed(0))
    scaled = (weight / 2).to(torch.float8_e4m3fn)
    old = tmp_path / "old.safetensors"
    save_file(
        {
            "scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn),
            "blocks.0.w.weight": scaled,
            "blocks.0.w.scale_weight": torch.tensor(2.0),
        },
        old,
    )
    bare = tmp_path / "bare.safetensors"
    save_file({"blocks.0.w.weight": weight}, bare)
    (layer,) = report_file(old, bare).layers
    assert layer.format == "fp8"
    assert layer.fidelity.sqnr_db > 28
    theirs = tmp_path / "theirs.safetensors"
    metadata = {"layers": {"blocks.0.w": {"format": "float8_e5m2"}}}
    save_file(
        {
            "blocks.0.w.weight": (weight / 2).to(torch.float8_e5m2),
            "blocks.0.w.weight_scale": torch.tensor(2.0),
        },
        theirs,
        {"_quantization_metadata": json.dumps(metadata)},
    )
    (layer,) = report_file(theirs, bare).layers
    assert (layer.format, layer.is_quantized, layer.shape) == ("float8_e5m2", True, (128, 256))
    assert layer.fidelity.sqnr_db > 24


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"blocks.0.w.qweight": torch.zeros(8, 8, dtype=torch.int32)}, "GPTQ"),
        ({"blocks.0.w.weight": torch.zeros(64, 1, dtype=torch.uint8)}, "nothing says how to read"),
        ({"norm.weight": torch.ones(8)}, "nothing to report on"),
    ],
)
def test_what_cannot_be_read_is_refused_and_no_size_is_made_up(tensors, reason, original, tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_file(tensors, path)
    with pytest.raises(FileError, match=reason):
        report_file(path, original)


def test_the_table_has_a_row_per_format_and_names_the_worst_layer(original, tmp_path):
    made = tmp_path / "made.safetensors"
    convert_file(original, made, Request(find("nf4")))
    report = report_file(made, original)
    ((name, count, share, *_),) = rows(report)
    assert (name, count, share) == ("nf4", "3", "100.0%")
    worst = min(report.layers, key=lambda layer: layer.fidelity.sqnr_db)
    assert f"Least SQNR: {worst.name}" in " ".join(notes(report))
