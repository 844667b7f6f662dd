"""Scales by their definition, and what a calibration says of inputs at each of its bounds."""

import pytest
import torch

from wattbench.offer import Machine
from wattbench.quant.base import Hardware, TensorSpec, WeightRangeError, largest
from wattbench.quant.calibrate import (
    CHUNK,
    OUTLIER_RATIO,
    ActivationRange,
    ActivationRecorder,
    Calibration,
)
from wattbench.quant.formats import find
from wattbench.quant.formats.fp8 import scale_of
from wattbench.quant.formats.int4_gemm import rotation
from wattbench.quant.scales import granularity, multiply


@pytest.mark.parametrize("name", ["fp8_w", "fp8", "fp8_static"])
@pytest.mark.parametrize("amax", [1e-6, 0.5, 448.0, 3e4])
def test_the_largest_weight_is_the_end_of_the_fp8_range(name, amax):
    weight = amax * torch.tensor([[0.5, -1.0], [0.0, 0.25]])
    stored = find(name).quantize(weight)
    assert float(stored["weight_scale"]) == pytest.approx(amax / 448.0)
    assert stored["weight"].float().abs().max() == 448.0
    assert torch.allclose(find(name).dequantize(stored, torch.float32), weight, rtol=1e-6)


@pytest.mark.parametrize("name", ["int8", "int8_w8a8"])
def test_the_largest_weight_of_each_row_is_the_end_of_the_int8_range(name):
    weight = torch.zeros(8, 8)
    weight[0, :4] = torch.tensor([127.0, -1.0, 0.49, 0.51])
    weight[1, :2] = torch.tensor([-1e-3, 0.5e-3])
    stored = find(name).quantize(weight)
    assert stored["weight_scale"][:2, 0].tolist() == pytest.approx([1.0, 1e-3 / 127])
    assert stored["weight"][0, :4].tolist() == [127, -1, 0, 1]
    assert stored["weight"][1, :2].tolist() == [-127, 64], "63.5, to the even of two"
    assert not stored["weight"][2:].any()


def test_zeros_have_a_scale_of_one():
    assert scale_of(torch.tensor([0.0, 448.0, 44.8])).tolist() == pytest.approx([1.0, 1.0, 0.1])
    for limit, scale in ((0.0, 1.0), (448.0, 1.0), (44.8, 0.1), (1e-6, 1e-6 / 448)):
        assert ActivationRange(1.0, 1.0, limit, 1).input_scale == pytest.approx(scale)


@pytest.mark.parametrize(
    ("ratio", "stands_out"), [(19.99, False), (OUTLIER_RATIO, True), (20.01, True)]
)
def test_twenty_times_the_typical_input_is_an_outlier(ratio, stands_out):
    found = ActivationRange(2.0 * ratio, 2.0, 1.0, 1)
    assert found.outlier_ratio == pytest.approx(ratio)
    assert Calibration("m", 100.0, 1, {"a": found}).outliers == ["a"] * stands_out


def test_outliers_stand_the_worst_first_and_zeros_have_none():
    layers = {
        name: ActivationRange(amax, typical, amax, 1)
        for name, amax, typical in (("a", 30.0, 1.0), ("b", 90.0, 2.0), ("c", 5.0, 0.0))
    }
    calibration = Calibration("m", 100.0, 1, layers)
    assert calibration.outliers == ["b", "a"]
    assert layers["c"].outlier_ratio is None
    assert calibration.input_scales == pytest.approx({"a": 30 / 448, "b": 90 / 448, "c": 5 / 448})


def recorded(*batches):
    module = torch.nn.Identity()
    with ActivationRecorder({"layer": module, "unused": torch.nn.Identity()}) as recorder:
        for batch in batches:
            module(batch)
    module(torch.full((1, 1), 1e6))  # After it was left, nothing is counted.
    return recorder


@pytest.mark.parametrize(
    ("percentile", "limit"), [(100.0, 1000.0), (99.9, 999.0), (50.0, 500.0), (0.1, 1.0)]
)
def test_a_percentile_is_what_so_many_do_not_exceed(percentile, limit):
    """Of 1 to 1000, each once and of either sign, in two calls; to the 0.4 % of bfloat16."""
    values = torch.arange(1.0, 1001.0) * torch.tensor([1.0, -1.0]).repeat(500)
    ranges = recorded(values[:600].view(2, 300), values[600:].view(1, 400)).ranges(percentile)
    assert list(ranges) == ["layer"]
    found = ranges["layer"]
    assert (found.amax, found.call_count) == (1000.0, 2)
    assert found.limit == pytest.approx(limit, rel=0.004)
    assert found.typical == pytest.approx(999.0, rel=0.004)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_input_is_exact_and_no_percentile_is_above_it(sign):
    """1.007 is no bfloat16; the next one is 1.0078."""
    found = recorded(torch.full((2, 2), sign * 1.007)).ranges(99.0)["layer"]
    assert found.amax == pytest.approx(1.007, abs=1e-7)
    assert found.limit == found.typical == found.amax


def test_inputs_of_more_than_a_chunk_are_all_counted():
    values = torch.ones(1, CHUNK + 10)
    values[0, CHUNK:] = 5.0
    recorder = recorded(values)
    assert int(recorder._counts["layer"].sum()) == CHUNK + 10
    assert recorder.ranges(100.0)["layer"].amax == 5.0


def test_an_empty_input_is_no_call_and_infinity_is_named():
    assert recorded(torch.empty(0, 4)).ranges(100.0) == {}
    for bad in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(ValueError, match="the inputs of layer hold NaN or infinities"):
            recorded(torch.tensor([[1.0, bad]])).ranges(99.0)


def test_the_largest_magnitude_by_row_and_in_all():
    weight = torch.tensor([[1.0, -3.0], [2.0, 0.5]])
    assert float(largest(weight)) == 3.0
    assert largest(weight, 1).tolist() == [[3.0], [2.0]]
    assert float(largest(weight.to(torch.float8_e4m3fn))) == 3.0
    for bad in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(WeightRangeError):
            largest(torch.tensor([[1.0, bad]]))


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("bf16", 16),
        ("fp8", 8 + 32 / (128 * 256)),
        ("int8", 8 + 32 / 256),
        ("nf4", 4 + 32 / 64),
        ("int4", 4 + 8 / 64 + 32 * 2 / (128 * 256) + 32 / (128 * 256)),
        ("int4_gemm", 4 + 32 / 256),
    ],
)
def test_bits_of_a_weight_by_hand(name, bits):
    """In a matrix of 128 x 256: 512 blocks of 64, whose scales are two blocks of 256."""
    assert find(name).bits_per_weight((128, 256)) == pytest.approx(bits)


def test_bytes_and_rotations():
    assert TensorSpec((3, 5), torch.float32).nbytes == 60
    assert TensorSpec((), torch.bfloat16).nbytes == 2
    columns = {255: 0, 256: 256, 512: 256, 64: 64, 320: 64, 63: 0, 128: 64}
    assert {n: rotation((8, n)) for n in columns} == columns


@pytest.mark.parametrize(
    ("capability", "has"),
    [((7, 4), False), ((7, 5), True), ((8, 9), True), ((9, 0), False), ((8, 99), True)],
)
def test_hardware_from_and_below_a_capability(capability, has):
    hardware = Hardware((7, 5), below=(9, 0), gfx=("gfx11",), tensor_cores=True)
    assert hardware.has(Machine("cuda", "A card", capability)) == has
    assert not hardware.has(Machine("cuda", "NVIDIA T600", (7, 5)))
    assert Hardware((7, 5)).has(Machine("cuda", "NVIDIA T600", (7, 5)))


@pytest.mark.parametrize(
    ("shape", "scale_shape", "found"),
    [
        ((6, 8), (), (6, 8)),
        ((6, 8), (1,), (6, 8)),
        ((6, 8), (1, 1, 1), (6, 8)),
        ((6, 8), (6,), (1, 8)),
        ((6, 8), (6, 1), (1, 8)),
        ((6, 8), (6, 1, 1), (1, 8)),
        ((6, 8), (6, 2), (1, 4)),
        ((6, 8), (6, 8), (1, 1)),
        ((6, 8), (6, 3), None),
        ((6, 8), (8,), None),
        ((6, 8), (1, 8), None),
        ((6, 8), (2, 2, 2), None),
        ((6, 8), (6, 2, 1), (1, 4)),
        ((6, 8), (6, 2, 2), None),
        ((6, 8), (6, 1, 2), None),
        ((256, 128), (2, 1), (128, 128)),
        ((6, 0), (6, 2), None),
        ((6, 4, 3, 3), (6,), (1, 36)),
        ((6, 4, 3, 3), (6, 1, 1, 1), (1, 36)),
        ((6, 4, 3, 3), (6, 4), (1, 9)),
        ((256, 512), (2, 4), (128, 128)),
        ((257, 513), (3, 5), (128, 128)),
        ((256, 512), (2, 5), None),
        ((128, 192), (2, 3), (64, 64)),
        ((128, 192), (4, 6), (32, 32)),
        ((128, 192), (8, 12), (16, 16)),
        ((512, 768), (2, 3), (256, 256)),
        ((512, 768), (4, 6), (128, 128)),
        ((4, 8), (4, 2), (1, 4)),
    ],
)
def test_what_a_scale_covers(shape, scale_shape, found):
    assert granularity(shape, scale_shape) == found


@pytest.mark.parametrize(
    ("shape", "scale_shape"),
    [
        ((6, 8), ()),
        ((6, 8), (1, 1)),
        ((6, 8), (6,)),
        ((6, 8), (6, 1)),
        ((6, 8), (6, 2)),
        ((6, 4, 3, 3), (6,)),
        ((6, 4, 3, 3), (6, 1, 1, 1)),
        ((40, 50), (3, 4)),
        ((300, 200), (3, 2)),
    ],
)
def test_every_weight_is_multiplied_by_its_own_scale(shape, scale_shape):
    torch.manual_seed(0)
    weight = torch.randint(-100, 100, shape).to(torch.int8)
    scale = torch.rand(scale_shape) + 0.5
    kept = weight.clone()
    found = multiply(weight, scale, torch.float32)
    rows, columns = granularity(shape, scale_shape)
    matrix = weight.reshape(shape[0], -1)
    grid = scale.reshape(-(-shape[0] // rows), -1)
    expected = torch.tensor(
        [
            [float(matrix[i, j]) * float(grid[i // rows, j // columns]) for j in range(len(row))]
            for i, row in enumerate(matrix)
        ]
    ).reshape(shape)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, rtol=1e-6)
    assert torch.equal(weight, kept), "the stored weight stays as it is"


def test_scales_of_an_unknown_shape_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"shape \[3\] do not fit a weight of shape \[6, 8\]"):
        multiply(torch.zeros(6, 8, dtype=torch.int8), torch.ones(3), torch.float32)
