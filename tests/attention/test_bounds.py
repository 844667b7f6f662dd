"""Every bound of the choice of a kernel, from just inside and from just outside."""

import math

import pytest
import torch

from wattbench.attention import AttentionCall, Backend, backend_named
from wattbench.attention.accuracy import EXACT_FACTOR, exact_bound, relative_error
from wattbench.attention.auto import IN_PLACE, MARGIN, Trial, check, copies_of, pick, try_all
from wattbench.offer import Machine

CPU = Machine("cpu", "cpu")
SDPA = backend_named("sdpa")
ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 1e-5}


def off_by(part):
    """A kernel whose result is wrong by this part of itself."""

    def kernel(q, k, v, mask, scale):
        out = SDPA(q.float(), k.float(), v.float(), mask, scale)
        return (out * (1 + part)).to(q.dtype)

    return Backend("planted", "", kernel)


def call_of(tensors, **kwargs):
    q, k, v = tensors(**kwargs)
    return AttentionCall.of(CPU, q, k), (q, k, v, None, None)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_an_exact_kernel_has_two_units_of_rounding(dtype, tensors):
    """Where sdpa itself is better than one, so that its luck rejects nobody."""
    rounding = ROUNDING[dtype]
    assert exact_bound(dtype, None) == exact_bound(dtype, 0.0) == 2 * rounding
    assert exact_bound(dtype, 0.99 * rounding) == 2 * rounding
    call, inputs = call_of(tensors, dtype=getattr(torch, dtype))
    assert check(off_by(1.9 * rounding), call, inputs, 0.0, 0.0).refusal == ""
    assert "above" in check(off_by(2.1 * rounding), call, inputs, 0.0, 0.0).refusal


def test_a_coarse_sdpa_lets_others_be_twice_as_coarse(tensors):
    call, inputs = call_of(tensors)
    coarse = Backend("sdpa", "", off_by(0.05).kernel)
    assert exact_bound("float32", 0.05) == EXACT_FACTOR * 0.05 == 0.1
    for part, refusal in ((0.0999, ""), (0.1001, "its error against fp32 is 0.1, above 0.1")):
        assert try_all([coarse, off_by(part)], call, inputs, 0.0)[1].refusal == refusal


def test_a_quantized_kernel_is_held_to_the_bound_that_was_asked_for(tensors):
    call, inputs = call_of(tensors)
    for part, refusal in ((0.0499, ""), (0.0501, "its error against fp32 is 0.05, above 0.05")):
        kernel = Backend("planted", "", off_by(part).kernel, is_exact=False)
        assert check(kernel, call, inputs, 0.05).refusal == refusal


@pytest.mark.parametrize("heads", [1, 4, 5, 12])
@pytest.mark.parametrize("q_len", [1, 127, 128, 129, 300])
def test_a_wrong_row_is_found_if_it_is_the_last(heads, q_len, tensors):
    """The last row of the last head is in every sample; kernels go wrong at the ends of blocks."""
    q, k, v = tensors(heads=heads, q_len=q_len)
    out = SDPA(q, k, v)
    assert relative_error(out, q, k, v) < 1e-6
    out[-1, -1, -1] *= 2
    assert relative_error(out, q, k, v) > 1e-3


def test_the_error_is_that_of_all_where_all_is_compared(tensors, reference, distance):
    """Grouped heads, a mask of each kind and a scale; the definition in fp64 is the judge."""
    q, k, v = tensors(heads=4, kv_heads=2)
    random = torch.Generator().manual_seed(0)
    masks = [torch.rand(shape, generator=random) for shape in ((1, 1, 70, 45), (2, 4, 70, 45))]
    for mask in (None, masks[0] > 0.3, masks[1]):
        true = reference(q, k, v, mask, 0.3)
        noise = torch.randn(true.shape, dtype=true.dtype, generator=random)
        noisy = (true + 0.01 * noise).float()
        assert relative_error(noisy, q, k, v, mask, 0.3) == pytest.approx(
            distance(noisy, true), rel=1e-3
        )


@pytest.mark.parametrize("which", range(4))
def test_a_kernel_that_writes_in_place_is_refused_and_nothing_is_lost(which, tensors):
    """Neither the model's tensors nor what the kernels after it are tried on."""
    q, k, v = tensors()
    mask = torch.zeros(1, 1, 70, 45)
    inputs = (q, k, v, mask, None)

    def in_place(*tensors):
        out = SDPA(*tensors)
        tensors[which][..., -1:] += 1
        return out

    before = [x.clone() for x in inputs[:4]]
    kernels = [SDPA, Backend("in_place", "", in_place), backend_named("split")]
    trials = try_all(kernels, AttentionCall.of(CPU, q, k, mask), inputs, 0.01)
    assert all(torch.equal(x, y) for x, y in zip(inputs[:4], before, strict=True))
    assert [trial.refusal for trial in trials] == ["", IN_PLACE, ""]
    assert trials[1].seconds is None
    assert [trial.error for trial in trials if trial.error is not None] == pytest.approx(
        [0, 0], abs=1e-6
    )


def test_a_copy_of_an_expanded_mask_takes_no_more_memory(tensors):
    q, k, v = tensors()
    random = torch.Generator().manual_seed(0)
    mask = torch.rand(1, 1, 1, 45, generator=random).expand(2, 4, 70, 45)
    copy = copies_of((q, k, v, mask, 0.3))
    assert torch.equal(copy[3], mask)
    assert copy[3].stride() == mask.stride()
    assert copy[3].data_ptr() != mask.data_ptr()
    assert copy[4] == 0.3


@pytest.mark.parametrize("idle", [0.0, 1.0])
@pytest.mark.parametrize(
    ("seconds", "host_s"), [(100e-6, 10e-6), (10e-6, 100e-6)], ids=["device", "host"]
)
def test_sdpa_stays_unless_beaten_by_a_margin_of_the_larger_of_its_times(idle, seconds, host_s):
    """The host's time counts where it is the larger one, even where the saving is the device's."""
    sdpa = Trial("sdpa", seconds, host_s)
    for part, picked in ((0.95, "sdpa"), (1.05, "quick")):
        saved_s = part * MARGIN * max(seconds, host_s)
        # Where the device waits only the host's time can be saved, and where it does not its own.
        quick = (
            Trial("quick", seconds, host_s - saved_s)
            if idle
            else Trial("quick", seconds - saved_s, host_s)
        )
        assert pick([sdpa, quick], idle).backend == picked


def test_a_margin_is_two_percent():
    for saved_s, picked in ((0.0199, "sdpa"), (0.0201, "quick")):
        assert pick([Trial("sdpa", 1.0, 0.5), Trial("quick", 1 - saved_s, 0.5)]).backend == picked


@pytest.mark.parametrize("idle", [0.0, 0.25, 1.0])
def test_a_cost_is_weighed_by_how_often_the_device_waits(idle):
    """Idle: the host's time and what the device needs beyond it; busy: the device's alone."""
    trial = Trial("x", 5.0, 2.0)
    assert trial.cost(idle, 3.0) == idle * (2.0 + 2.0) + (1 - idle) * 5.0
    assert trial.cost(idle, 9.0) == idle * 2.0 + (1 - idle) * 5.0
    assert Trial("x").cost(idle, 9.0) == Trial("x", 1.0).cost(idle, 9.0) == math.inf


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 64])
def test_sequences_that_are_looked_at_are_spread_to_the_last(count):
    from wattbench.attention.accuracy import _spread

    expected = {1: [0], 2: [0, 1], 3: [0, 1, 2], 4: [0, 1, 3], 7: [1, 3, 6], 64: [20, 41, 63]}
    assert list(_spread(count, 3)) == expected[count]
