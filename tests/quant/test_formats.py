"""Every format stores what it says, and gives it back nearly."""

import math
import os
from pathlib import Path

import pytest
import torch

from wattbench.offer import Machine
from wattbench.quant.base import (
    CONFIG,
    UnsupportedLayerError,
    WeightRangeError,
    decode_config,
    encode_config,
)
from wattbench.quant.formats import FORMATS, find
from wattbench.quant.stored import format_of

from .conftest import SHAPE

HERE = [f for f in FORMATS if f.package is None or f.package.is_installed]
"""Those whose packages this environment has."""

WRITABLE = [f for f in HERE if f.can_quantize]
QUANTIZED = [f.name for f in WRITABLE if f.is_quantized]

SQNR_FLOOR_DB = {
    "bf16": 50,
    "fp16": 65,
    "fp8_w": 31,
    "fp8": 31,
    "fp8_static": 31,
    "int8": 41,
    "int8_w8a8": 41,
    "nf4": 20,
    "int4": 20,
    "int4_gemm": 17,
    "mxfp8": 30,
    "nvfp4": 19,
    "w4a8": 19,
}
"""For normal weights; what the number of bits allows, less a margin of about 1 dB."""

HOPPER = Machine("cuda", "H200", (9, 0))
AMPERE = Machine("cuda", "RTX 3090", (8, 6))
ADA = Machine("cuda", "RTX 4090", (8, 9))
TURING = Machine("cuda", "RTX 2080", (7, 5))
TURING_16 = Machine("cuda", "NVIDIA GeForce GTX 1660", (7, 5))
BLACKWELL = Machine("cuda", "RTX 5090", (12, 0))
VEGA = Machine("cuda", "Radeon VII", None, "gfx906")
CDNA3 = Machine("cuda", "MI300X", None, "gfx942")
RDNA3 = Machine("cuda", "RX 7900", None, "gfx1100")
RDNA4 = Machine("cuda", "RX 9070", None, "gfx1201")
CPU = Machine("cpu", "")


@pytest.fixture(params=WRITABLE, ids=lambda weight_format: weight_format.name)
def weight_format(request):
    return request.param


def sqnr_db(reference, value):
    reference, value = reference.double(), value.double()
    return 10 * math.log10(reference.square().sum() / (value - reference).square().sum())


def test_round_trip_is_faithful(weight_format, weight):
    weight = weight.float() * 1.37
    stored = weight_format.quantize(weight)
    back = weight_format.dequantize(stored, torch.float32)
    assert back.shape == weight.shape
    assert back.dtype == torch.float32
    assert sqnr_db(weight, back) > SQNR_FLOOR_DB[weight_format.name]


def test_stores_what_it_announces(weight_format, weight):
    stored = weight_format.quantize(weight)
    config = stored.pop(CONFIG, None)
    announced = weight_format.stored_spec(SHAPE)
    assert {k: (tuple(t.shape), t.dtype) for k, t in stored.items()} == {
        k: (spec.shape, spec.dtype) for k, spec in announced.items()
    }
    stored_bits = 8 * sum(t.nbytes for t in stored.values()) / weight.numel()
    assert weight_format.bits_per_weight(SHAPE) == stored_bits
    if weight_format.is_quantized:
        assert decode_config(config) == weight_format.config(SHAPE)
    else:
        assert config is None


def test_a_format_reads_its_own_layers_and_no_other_does(weight_format):
    if weight_format.is_quantized:
        config, has_scale = weight_format.config(SHAPE), weight_format.needs_input_scale
        found = [f.reads(config, has_scale) for f in FORMATS]
        assert [f for f in found if f is not None] == [weight_format]


@pytest.mark.parametrize(
    ("config", "has_input_scale", "name"),
    [
        ({"format": "float8_e4m3fn"}, False, "fp8"),
        ({"format": "float8_e4m3fn"}, True, "fp8_static"),
        ({"format": "float8_e4m3fn", "activation_scale": "dynamic"}, True, "fp8"),
        ({"format": "float8_e4m3fn", "activation_scale": "static"}, False, "fp8_static"),
        ({"format": "float8_e4m3fn", "full_precision_matrix_mult": True}, True, "fp8_w"),
        ({"format": "float8_e4m3fn", "full_precision_matrix_mult": False}, False, "fp8"),
        ({"format": "int8_tensorwise"}, False, "int8_w8a8"),
        ({"format": "int8_tensorwise", "full_precision_matrix_mult": True}, False, "int8"),
        (
            {"format": "int8_tensorwise", "full_precision_matrix_mult": True, "convrot": True},
            False,
            "int8_w8a8",
        ),
        ({"format": "gguf:Q4_K"}, False, "gguf:Q4_K"),
    ],
)
def test_what_files_of_others_say_of_a_layer(config, has_input_scale, name):
    assert format_of(config, has_input_scale).name == name


@pytest.mark.parametrize("name", ["awq_w4a16", "float8_e5m2", "gguf", "gguf:Q9_X", "bf16"])
def test_formats_that_are_not_ours_are_left_to_others(name):
    assert format_of({"format": name}, False) is None


def test_takes_unscaled_fp8_weights(weight_format, weight):
    plain = weight.to(torch.float8_e4m3fn)
    back = weight_format.dequantize(weight_format.quantize(plain), torch.float32)
    assert sqnr_db(plain.float(), back) > SQNR_FLOOR_DB[weight_format.name] - 2


def test_zeros_stay_zeros(weight_format):
    stored = weight_format.quantize(torch.zeros(SHAPE, dtype=torch.bfloat16))
    assert weight_format.dequantize(stored, torch.bfloat16).abs().max() == 0


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_refuses_what_no_scale_fits(name, weight, bad):
    weight[3, 5] = bad
    with pytest.raises(WeightRangeError, match="infinities or NaN"):
        find(name).quantize(weight)


@pytest.mark.parametrize("name", QUANTIZED)
def test_refuses_a_convolution(name):
    weight_format = find(name)
    with pytest.raises(UnsupportedLayerError, match=f"{weight_format.name}: only matrices"):
        weight_format.quantize(torch.ones(8, 8, 3, 3))


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("nf4", (3, 20), "blocks of 64 weights do not fill 3 x 20"),
        ("int8_w8a8", (12, 64), "multiples of 8"),
        ("int4_gemm", (64, 96), "96 columns are no multiple of 64"),
        ("mxfp8", (64, 48), "multiples of 32"),
        ("nvfp4", (64, 40), "multiples of 16"),
    ],
)
def test_says_which_shapes_do_not_fit(name, shape, reason):
    assert reason in find(name).supports(shape)


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("bf16", 16),
        ("fp8", 8 + 32 / (192 * 256)),
        ("int8", 8 + 32 / 256),
        ("nf4", 4 + 32 / 64),
        ("int4", 4 + 8 / 64 + 32 / (64 * 256) + 32 / (192 * 256)),
        ("mxfp8", 8 + 256 / 192 * 8 / 32),
        ("nvfp4", 4 + 256 / 192 * 8 / 16 + 32 / (192 * 256)),
    ],
)
def test_bits_per_weight(name, bits):
    assert find(name).bits_per_weight(SHAPE) == pytest.approx(bits)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="resets /proc's peak")
@pytest.mark.parametrize("name", ["nf4", "int4", "int4_gemm"])
def test_four_bits_are_made_in_little_memory_beside_source_and_result(name):
    weight = torch.full((8192, 2560), 0.02, dtype=torch.bfloat16)
    find(name).quantize(weight[:64])  # loads what is needed
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    stored = find(name).quantize(weight)
    results = sum(tensor.nbytes for tensor in stored.values())
    assert resident_bytes("VmHWM") - before - results < 64 * 2**20


def resident_bytes(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = dict(line.split(":", 1) for line in lines)[key].split()[0]
    return 1024 * int(kilobytes)


def test_fp8_is_torchs_cast_of_the_scaled_weight(weight):
    stored = find("fp8").quantize(weight)
    scale = weight.float().abs().max() / 448
    assert stored["weight_scale"] == scale
    expected = (weight.float() / scale).to(torch.float8_e4m3fn)
    assert torch.equal(stored["weight"].view(torch.uint8), expected.view(torch.uint8))


def test_fp8_takes_unscaled_fp8_weights_as_they_are(weight):
    plain = weight.to(torch.float8_e4m3fn)
    stored = find("fp8").quantize(plain)
    assert torch.equal(stored["weight"].view(torch.uint8), plain.view(torch.uint8))
    assert stored["weight_scale"] == 1


@pytest.mark.parametrize(
    ("name", "machine", "kind", "arithmetic"),
    [
        ("fp8", HOPPER, "native", "fp8 tensor cores"),
        ("fp8_static", ADA, "native", "fp8 tensor cores"),
        ("fp8", AMPERE, "dequantized", "the compute dtype"),
        ("fp8", BLACKWELL, "native", "fp8 tensor cores"),
        ("fp8", RDNA4, "native", "fp8 tensor cores"),
        ("fp8", CDNA3, "dequantized", "the compute dtype"),
        ("fp8_static", RDNA3, "dequantized", "the compute dtype"),
        ("fp8_w", HOPPER, "dequantized", "the compute dtype"),
        ("int8_w8a8", AMPERE, "native", "int8 tensor cores"),
        ("int8_w8a8", TURING, "native", "int8 tensor cores"),
        ("int8_w8a8", TURING_16, "dequantized", "the compute dtype"),
        ("int8_w8a8", CDNA3, "native", "int8 tensor cores"),
        ("int8_w8a8", VEGA, "dequantized", "the compute dtype"),
        ("int8_w8a8", CPU, "emulated", "eager"),
        ("int4_gemm", AMPERE, "native", "int4 tensor cores"),
        ("int4_gemm", TURING, "native", "int4 tensor cores"),
        ("int4_gemm", TURING_16, "emulated", "eager"),
        ("int4_gemm", RDNA3, "native", "int4 tensor cores"),
        ("int4_gemm", CDNA3, "emulated", "eager"),
        ("int4_gemm", HOPPER, "emulated", "int8 tensor cores"),
        ("int4_gemm", BLACKWELL, "emulated", "int8 tensor cores"),
        ("nf4", HOPPER, "dequantized", "the compute dtype"),
        ("nvfp4", BLACKWELL, "native", "nvfp4 tensor cores"),
        ("nvfp4", HOPPER, "dequantized", "the compute dtype"),
        ("mxfp8", BLACKWELL, "native", "mxfp8 tensor cores"),
        ("mxfp8", CPU, "dequantized", "the compute dtype"),
        ("bf16", CPU, "emulated", "32-bit"),
    ],
)
def test_says_how_a_machine_computes(name, machine, kind, arithmetic):
    execution = find(name).execution(machine)
    assert (execution.kind, execution.arithmetic) == (kind, arithmetic)
    wanted = "dequantized" if name in ("fp8_w", "nf4") else "native"
    assert (execution.reason == "") == (kind == wanted)


def test_gguf_is_not_written():
    with pytest.raises(UnsupportedLayerError, match="read, not written"):
        find("gguf:Q4_K").quantize(torch.ones(4, 256))
    with pytest.raises(ValueError, match="unknown GGUF type 'Q9'"):
        find("gguf:Q9")


def test_unknown_format_is_refused_with_the_list():
    with pytest.raises(ValueError, match="unknown weight format 'fp9'; choose one of bf16, fp16"):
        find("fp9")


def test_entries_in_params_are_the_configurations_own():
    """ComfyUI reads them in either place."""
    config = {"format": "int8_tensorwise", "params": {"convrot": True}}
    assert decode_config(encode_config(config)) == {"format": "int8_tensorwise", "convrot": True}


@pytest.mark.parametrize("text", [b"no json", b"[1]", b"{}"])
def test_a_broken_configuration_is_named(text):
    with pytest.raises(ValueError, match="comfy_quant"):
        decode_config(torch.tensor(list(text), dtype=torch.uint8))


def test_a_missing_package_is_an_offer_with_a_remedy(monkeypatch):
    monkeypatch.setattr("wattbench.quant.base.find_spec", lambda name: None)
    offer = find("nf4").offer(HOPPER)
    assert not offer.available
    assert "bitsandbytes" in offer.reason
    assert "pip install" in offer.remedy
    with pytest.raises(ImportError, match="nf4 needs the package bitsandbytes: pip install"):
        find("nf4").quantize(torch.ones(64, 64))
