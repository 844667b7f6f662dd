"""What a format stores is what its makers' packages store, bit for bit."""

import bitsandbytes.functional as bnb
import comfy_kitchen
import gguf
import numpy as np
import pytest
import torch

from wattbench.offer import Machine
from wattbench.quant.base import CONFIG
from wattbench.quant.blocks import BLOCK_ELEMENTS
from wattbench.quant.formats import find
from wattbench.quant.ggml import BLOCK_TYPES

from ..corpus.ggufs import blocks
from .conftest import SHAPE

AMPERE = Machine("cuda", "RTX 3090", (8, 6))


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
