"""Products on fp8 units, in torch's own arithmetic on a CPU: exact enough at any magnitude."""

import pytest
import torch

from wattbench.quant import products
from wattbench.quant.formats import find
from wattbench.quant.formats.fp8 import scale_of
from wattbench.quant.products import fp8_linear, quantize_rows, widen_fp8

DYNAMIC_ERROR = 0.05
"""Relative, for normal activations; E4M3 has three bits of mantissa."""


@pytest.fixture
def layer():
    generator = torch.Generator().manual_seed(0)
    weight = (torch.randn(96, 256, generator=generator) * 0.05).to(torch.bfloat16)
    bias = torch.randn(96, generator=generator).to(torch.bfloat16) * 0.01
    return weight, bias, find("fp8").quantize(weight)


def activations(magnitude):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(2, 48, 256, generator=generator) * magnitude).to(torch.bfloat16)


def relative_error(reference, value):
    return float((value.float() - reference).norm() / reference.norm())


@pytest.mark.parametrize("magnitude", [1, 400, 1 / 3000])
def test_activations_of_any_magnitude_keep_their_precision(layer, magnitude):
    weight, _, stored = layer
    x = activations(magnitude)
    exact = torch.nn.functional.linear(x.float(), weight.float())
    product = fp8_linear(x, stored["weight"], stored["weight_scale"], None, None)
    assert product.shape == exact.shape
    assert product.dtype == x.dtype
    assert relative_error(exact, product) < DYNAMIC_ERROR


def test_a_scale_of_one_is_what_loses_them(layer):
    """What ComfyUI does without a calibrated scale: the error that ``fp8`` exists to avoid."""
    weight, _, stored = layer
    for magnitude in (400, 1 / 3000):
        x = activations(magnitude)
        exact = torch.nn.functional.linear(x.float(), weight.float())
        one = torch.ones(())
        product = fp8_linear(x, stored["weight"], stored["weight_scale"], one, None)
        assert relative_error(exact, product) > 0.3


def test_a_calibrated_scale_is_as_good_as_a_dynamic_one(layer):
    weight, _, stored = layer
    x = activations(400)
    exact = torch.nn.functional.linear(x.float(), weight.float())
    scale = scale_of(x.abs().amax().float())
    dynamic, static = (
        relative_error(exact, fp8_linear(x, stored["weight"], stored["weight_scale"], s, None))
        for s in (None, scale)
    )
    assert static < 1.2 * dynamic


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_bias_is_added(layer, dtype):
    weight, _, stored = layer
    x = activations(1).to(dtype)
    bias = torch.full((96,), 3.0, dtype=dtype)
    exact = torch.nn.functional.linear(x.float(), weight.float(), bias.float())
    product = fp8_linear(x, stored["weight"], stored["weight_scale"], None, bias)
    assert product.dtype == dtype
    assert relative_error(exact, product) < DYNAMIC_ERROR


@pytest.mark.parametrize(
    ("capability", "system", "has"),
    [((9, 0), "posix", True), ((9, 0), "nt", False), ((8, 9), "posix", False),
     ((12, 0), "posix", False)],
)  # fmt: skip
def test_rows_are_scaled_where_the_matrix_kernel_is_known_to_take_it(
    capability, system, has, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(products.os, "name", system)
    assert products._has_row_scales.__wrapped__(torch.device("cuda")) == has


def test_each_row_has_a_scale_of_its_own():
    rows = torch.tensor([[448.0, 1.0], [0.0, 0.0], [1e-4, 5e-5]])
    quantized, scale = quantize_rows(rows)
    assert scale.flatten().tolist() == pytest.approx([1.0, 1.0, 1e-4 / 448])
    assert torch.allclose(quantized.float() * scale, rows, rtol=0.04)


def test_widening_is_the_formats_own(layer):
    _, _, stored = layer
    wide = widen_fp8(stored["weight"], stored["weight_scale"], torch.bfloat16)
    assert torch.equal(wide, find("fp8").dequantize(stored, torch.bfloat16))
