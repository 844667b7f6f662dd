"""Every format stores what it says, gives it back nearly, and agrees with its makers."""

import math
import os
from pathlib import Path

import bitsandbytes.functional as bnb
import comfy_kitchen
import gguf
import numpy as np
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
from wattbench.quant.blocks import BLOCK_ELEMENTS
from wattbench.quant.formats import FORMATS, find
from wattbench.quant.ggml import BLOCK_TYPES
from wattbench.quant.stored import format_of

from ..corpus.ggufs import blocks

SHAPE = (192, 256)

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


@pytest.fixture
def weight():
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(SHAPE, generator=generator) * 0.02).to(torch.bfloat16)


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


def test_nf4_is_bitsandbytes_bit_for_bit(weight):
    stored = find("nf4").quantize(weight)
    packed, state = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    assert torch.equal(stored["weight"].reshape(-1), packed.reshape(-1))
    assert torch.equal(stored["weight_scale"], state.absmax)
    ours = find("nf4").dequantize(stored, torch.bfloat16)
    assert torch.equal(ours, bnb.dequantize_4bit(packed, state))


def test_int4_is_bitsandbytes_double_quantization_bit_for_bit(weight):
    stored = find("int4").quantize(weight)
    packed, state = bnb.quantize_4bit(
        weight, blocksize=64, quant_type="nf4", compress_statistics=True
    )
    assert torch.equal(stored["weight"].reshape(-1), packed.reshape(-1))
    ours = find("int4").dequantize(stored, torch.bfloat16)
    assert torch.equal(ours, bnb.dequantize_4bit(packed, state))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("name", ["nf4", "int4"])
def test_blocks_of_a_large_matrix_are_bitsandbytes_too(name, dtype):
    """Two and a half times what is quantized at once, in parts of unequal length, zeros in it."""
    weight = large_weight(dtype)
    stored = find(name).quantize(weight)
    packed, state = bnb.quantize_4bit(
        weight, blocksize=64, quant_type="nf4", compress_statistics=name == "int4"
    )
    assert same_bits(stored["weight"], packed)
    assert same_bits(stored["weight_scale"], state.absmax)
    if name == "int4":
        assert same_bits(stored["weight_nested_scale"], state.state2.absmax)
        assert same_bits(stored["weight_nested_offset"], state.offset)


@pytest.mark.parametrize("scale", [1e-40, 1e-38, 1.7e-38, 3e-9, 0.0173, 1.0, 6.1, 777.0, 3e38])
def test_every_bf16_number_is_rounded_as_bitsandbytes_does(scale):
    """Of all that a scale covers; every block has the scale as its first number."""
    numbers = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    largest = torch.tensor(scale, dtype=torch.bfloat16)
    parts = numbers[numbers.abs() <= largest].split(63)
    blocks = largest.repeat(len(parts), 64)
    for block, part in zip(blocks, parts, strict=True):
        block[1 : 1 + len(part)] = part
    packed, state = bnb.quantize_4bit(blocks, blocksize=64, quant_type="nf4")
    stored = find("nf4").quantize(blocks)
    assert same_bits(stored["weight"], packed)
    assert same_bits(stored["weight_scale"], state.absmax)


@pytest.mark.parametrize("scale", [1.0, 0.25, 0.0173])
def test_numbers_between_two_values_are_rounded_as_bitsandbytes_does(scale):
    """The midpoints, of which the lower value is the nearest, and their neighbours."""
    code = bnb.get_4bit_type("nf4", device="cpu")
    middle = (code[:-1] + code[1:]) / 2
    above, below = (middle.nextafter(torch.tensor(end)) for end in (2.0, -2.0))
    block = torch.cat([torch.ones(1), middle, above, below, code, torch.zeros(2)]) * scale
    packed, _ = bnb.quantize_4bit(block, blocksize=64, quant_type="nf4")
    assert same_bits(find("nf4").quantize(block[None])["weight"], packed)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rows_of_a_large_matrix_are_rotated_as_comfy_kitchen_does(dtype):
    weight = large_weight(dtype)
    stored = find("int4_gemm").quantize(weight)
    qdata, scale = comfy_kitchen.quantize_convrot_w4a4_weight(weight.float(), 64)
    assert same_bits(stored["weight"], qdata)
    assert same_bits(stored["weight_scale"], scale)


def large_weight(dtype):
    generator = torch.Generator().manual_seed(2)
    rows = 5 * BLOCK_ELEMENTS // (2 * 320) + 1
    weight = torch.randn(rows, 320, generator=generator) * 0.02
    weight[rows // 2 :: 7] *= 300
    weight[1:3] = 0
    return weight.to(dtype)


def same_bits(ours, theirs):
    ours, theirs = (tensor.reshape(-1).view(torch.uint8) for tensor in (ours, theirs))
    return torch.equal(ours, theirs)


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


def test_fp8_is_read_as_comfyui_reads_it(weight):
    stored = find("fp8").quantize(weight)
    theirs = comfy_kitchen.dequantize_per_tensor_fp8(
        stored["weight"], stored["weight_scale"], torch.bfloat16
    )
    assert torch.equal(find("fp8").dequantize(stored, torch.bfloat16), theirs)


def test_w4a8_is_kitchens_and_says_what_an_older_one_lacks(weight, monkeypatch):
    """Against its signature in 0.2.40, with codes that are all 8 and a table whose ninth is 1."""
    monkeypatch.delattr(comfy_kitchen, "quantize_w4a8_int8_weight", raising=False)
    offer = find("w4a8").offer(AMPERE)
    assert not offer.available
    assert "update ComfyUI" in offer.remedy
    with pytest.raises(ImportError, match="update ComfyUI"):
        find("w4a8").quantize(weight)
    table = torch.zeros(16)
    table[8] = 1

    def quantize_w4a8_int8_weight(
        weight, group_size=16, convrot_groupsize=256, symmetric=True, scale_dtype=None
    ):
        rows, columns = weight.shape
        codes = torch.full((rows, columns // 2), -120, dtype=torch.int8)  # 8 and 8
        relative = torch.ones(rows, columns // group_size).to(torch.float8_e4m3fn)
        return codes, relative, torch.full((rows,), 2.0), None, table

    def dequantize_w4a8_int8_weight(
        qdata,
        s_rel,
        s_channel,
        codebook=None,
        correction=None,
        group_size=16,
        convrot_groupsize=256,
        output_dtype=torch.bfloat16,
    ):
        values = codebook[(qdata.to(torch.int16) & 15).long()].repeat_interleave(2, 1)
        scale = s_rel.float().repeat_interleave(group_size, 1) * s_channel[:, None]
        return (values * scale).to(output_dtype)

    for function in (quantize_w4a8_int8_weight, dequantize_w4a8_int8_weight):
        monkeypatch.setattr(comfy_kitchen, function.__name__, function, raising=False)
    stored = find("w4a8").quantize(weight)
    assert find("w4a8").shape(stored) == SHAPE
    assert torch.equal(find("w4a8").dequantize(stored, torch.float32), torch.full(SHAPE, 2.0))
    spec = find("w4a8").stored_spec(SHAPE)
    assert {k: (s.shape, s.dtype) for k, s in spec.items()} == {
        k: (tuple(t.shape), t.dtype) for k, t in stored.items() if k != CONFIG
    }


@pytest.mark.parametrize("name", ["mxfp8", "nvfp4"])
def test_blocks_with_scales_are_comfy_kitchens(name):
    """Made of tiles of rows one after the other, and the same as of the whole."""
    weight = large_weight(torch.bfloat16)[:1600]
    stored = find(name).quantize(weight)
    if name == "mxfp8":
        data, scale = comfy_kitchen.quantize_mxfp8(weight)
    else:
        whole = weight.abs().max().float() / (448 * 6)
        data, scale = comfy_kitchen.quantize_nvfp4(weight, whole)
        assert stored["weight_scale_2"] == whole
    assert same_bits(stored["weight"], data)
    assert same_bits(stored["weight_scale"], scale)


@pytest.mark.parametrize("name", ["int8", "int8_w8a8"])
def test_int8_is_quantized_as_comfy_kitchen_does(name, weight):
    stored = find(name).quantize(weight.float())
    qdata, scale = comfy_kitchen.quantize_int8_rowwise(weight.float())
    assert torch.equal(stored["weight"], qdata)
    assert torch.equal(stored["weight_scale"], scale)


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


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_gguf_is_widened_as_the_gguf_package_does(name):
    kind = gguf.GGMLQuantizationType[name]
    block = BLOCK_TYPES[name]
    assert (block.weights, block.nbytes) == gguf.GGML_QUANT_SIZES[kind]
    raw = blocks(kind, 6, 3 * block.weights)
    expected = gguf.quants.dequantize(raw, kind)
    weight_format = find(f"gguf:{name}")
    stored = {"weight": torch.from_numpy(raw)}
    assert weight_format.shape(stored) == expected.shape
    assert weight_format.stored_spec(expected.shape)["weight"].shape == raw.shape
    np.testing.assert_array_equal(weight_format.dequantize(stored, torch.float32), expected)


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
