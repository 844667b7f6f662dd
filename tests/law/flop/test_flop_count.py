"""Properties of the counts, and the paper's convention."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.law.flop import ALIASES, FORMULAS, PAPER_FORMULAS, Work, flop_count, paper, run_work

shapes = st.fixed_dictionaries(
    {
        "width_px": st.integers(8, 256).map(lambda n: 8 * n),
        "height_px": st.integers(8, 256).map(lambda n: 8 * n),
        "steps": st.integers(1, 60),
        "batch_size": st.integers(1, 8),
        "text_tokens": st.integers(0, 600),
        "cfg": st.sampled_from([1.0, 3.5, 7.0]),
    }
)
conventions = st.sampled_from(
    [("exact", name) for name in FORMULAS] + [("paper", name) for name in PAPER_FORMULAS]
)


def count(case, shape, **changes):
    convention, architecture = case
    return flop_count(architecture, convention=convention, **(shape | changes))


@given(conventions, shapes)
def test_more_costs_more(case, shape):
    base = count(case, shape)
    assert base.denoise < count(case, shape, steps=shape["steps"] + 1).denoise
    assert base.total < count(case, shape, batch_size=shape["batch_size"] + 1).total
    assert base.total <= count(case, shape, text_tokens=shape["text_tokens"] + 1).total
    for edge in ("width_px", "height_px"):
        larger = count(case, shape, **{edge: shape[edge] + 16})
        assert base.denoise < larger.denoise
        assert base.decode < larger.decode


@given(conventions, shapes)
def test_steps_batch_and_guidance_multiply(case, shape):
    one = count(case, shape, steps=1, batch_size=1, cfg=1.0)
    guided = count(case, shape, steps=1, batch_size=1, cfg=7.0)
    assert guided.denoise == 2 * one.denoise
    assert guided.text_encode == 2 * one.text_encode
    assert guided.decode == one.decode
    many = count(case, shape, cfg=1.0)
    assert many.denoise == shape["steps"] * shape["batch_size"] * one.denoise
    assert many.text_encode == one.text_encode
    assert many.decode == shape["batch_size"] * one.decode


@given(conventions, shapes)
def test_counts_are_whole_flops(case, shape):
    result = count(case, shape)
    assert all(type(part) is int for part in (result.text_encode, result.denoise, result.decode))
    assert result.total == result.text_encode + result.denoise + result.decode


@given(st.sampled_from(list(FORMULAS)), shapes, st.sampled_from(["batched", "sequential"]))
def test_work_holds_the_flops(architecture, shape, guidance):
    calls = 1 if shape["cfg"] == 1.0 else 2
    sizes = {name: shape[name] for name in ("width_px", "height_px", "batch_size", "text_tokens")}
    work = run_work(architecture, nfe=shape["steps"], calls=calls, guidance=guidance, **sizes)
    counted = flop_count(architecture, **shape)
    assert work.denoise.flops == counted.denoise
    assert work.total.flops == counted.total


def test_a_batch_reads_the_weights_once_and_a_second_pass_again():
    once = run_work("sdxl", 512, 512, nfe=1).denoise
    batched = run_work("sdxl", 512, 512, nfe=1, calls=2).denoise
    sequential = run_work("sdxl", 512, 512, nfe=1, calls=2, guidance="sequential").denoise
    assert batched.weights == once.weights
    assert sequential.weights == 2 * once.weights
    assert batched.activations == sequential.activations == 2 * once.activations


def test_samplers_with_two_evaluations_cost_them():
    heun = flop_count("flux", 1024, 1024, 20, sampler="heun")
    euler = flop_count("flux", 1024, 1024, 39)
    assert heun.nfe == 39
    assert heun == euler


def test_known_context_rows_replace_the_padding():
    padded = flop_count("flux", 1024, 1024, 1, text_tokens=511)
    given_rows = flop_count("flux", 1024, 1024, 1, context_rows=512)
    assert padded.denoise == given_rows.denoise


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases_are_the_same_network(alias, name):
    assert flop_count(alias, 512, 512, 1) == flop_count(name, 512, 512, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "sd3"}, "no formula for 'sd3'"),
        ({"architecture": "sdxl", "convention": "paper"}, "paper's convention"),
        ({"convention": "guess"}, "no convention 'guess'"),
        ({"width_px": 1023}, "multiple of 8, got 1023"),
        ({"height_px": 0}, "height_px"),
        ({"batch_size": 0}, "batch_size"),
        ({"text_tokens": -1}, "text_tokens"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_what_has_no_count_is_refused(changes, message):
    base = {"architecture": "flux", "width_px": 1024, "height_px": 1024, "steps": 4}
    with pytest.raises(ValueError, match=message):
        flop_count(**(base | changes))


def test_work_adds_up():
    one = Work(matmul_flops=2, conv_flops=3, matmul_weights=5, operators=1)
    assert 2 * one == one + one
    assert one.flops == 5
    assert one.weights == 5


def test_the_papers_primitives():
    """Values by hand from Table 4 of arXiv 2511.17031v2."""
    assert paper.conv2d(3, 4, 320, 10, 20) == 2 * 200 * 9 * 4 * 320
    parameters = 2 * 8 * 3 * (2 * 16 + 32)
    assert paper.transformer(8, 32, 16, 3, 5) == 5 * (2 * parameters + 2 * 3 * 5 * 16)
    assert paper.mmdit(8, 32, 16, 3, 5) == 5 * (2 * parameters + 2 * 3 * 5 * 16)
    parameters = 2 * 3 * (8 * (16 + 32) + 24 * 16)
    assert paper.cross_transformer(8, 24, 32, 16, 3, 5, 7) == 5 * (2 * parameters + 2 * 3 * 7 * 16)
    assert paper.resnet_block(3, 4, 8, 2, 2) == 2 * 4 * 9 * (4 * 8 + 8 * 8)


@pytest.mark.parametrize(
    ("architecture", "gflops"),
    [("flux", 66925.791), ("qwen_image", 62046.895), ("sd35", 27106.995), ("sd2", 3718.823)],
)
def test_the_papers_evaluations(architecture, gflops):
    """Its formulas at 1024 x 1024, worked out independently of this code."""
    one = flop_count(architecture, 1024, 1024, 1, convention="paper")
    assert one.denoise / 1e9 == pytest.approx(gflops, rel=1e-6)
