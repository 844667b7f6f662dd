"""What each setting costs, and which runs are worth their quality."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench import law
from wattbench.law.planning import front, options, undominated
from wattbench.records import Condition

BASE = Condition("flux", "flux", "", "", "fp16", 1024, 1024, 1, 20, 1.0, "euler", "")


@pytest.fixture(scope="module")
def found():
    return options(BASE, law.card_named("A100"))


def of(found, setting):
    return {one.choice: one for one in found if one.setting == setting}


def test_the_base_is_the_measure_in_every_setting(found):
    for setting, choice in (
        ("resolution", "1024x1024"), ("steps", "20"), ("precision", "fp16"), ("guidance", "off"),
        ("batch", "1"),
    ):  # fmt: skip
        assert of(found, setting)[choice].ratio == 1.0


@pytest.mark.parametrize("setting", ["resolution", "steps"])
def test_more_costs_more(found, setting):
    values = [one.energy.value for one in of(found, setting).values()]
    assert values == sorted(values)
    assert len(values) >= 4


def test_guidance_about_doubles_and_fp32_costs_more(found):
    """All but the decoder and the second prompt's encoding."""
    assert of(found, "guidance")["on"].ratio == pytest.approx(2, abs=0.1)
    assert of(found, "precision")["fp32"].ratio > 3


def test_an_image_of_a_batch_costs_no_more(found):
    values = [one.energy.value for one in of(found, "batch").values()]
    assert values == sorted(values, reverse=True)


def test_what_is_new_is_said_and_what_is_unknown_has_no_number(found):
    assert "batch size 8 outside the measured 1" in of(found, "batch")["8"].note
    assert of(found, "resolution")["512x512"].note == ""
    base = replace(BASE, weight_format="float8_e4m3fn")
    with pytest.raises(law.LawDataError, match="no data of the dtype float8_e4m3fn"):
        options(base, law.card_named("A100"))


def test_the_front(tmp_path):
    path = tmp_path / "quality.csv"
    path.write_text(
        "width_px,height_px,steps,quality\n1024,1024,30,0.32\n1024,1024,20,0.31\n"
        "512,512,30,0.25\n512,512,50,0.24\n"
    )
    runs = front(BASE, law.card_named("A100"), path)
    assert [(one.condition.width_px, one.condition.steps, one.on_front) for one in runs] == [
        (512, 30, True),
        (512, 50, False),
        (1024, 20, True),
        (1024, 30, True),
    ]
    path.write_text("width_px,steps\n1024,3\n")
    with pytest.raises(law.LawDataError, match="lacks the columns height_px, quality"):
        front(BASE, law.card_named("A100"), path)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_what_is_left_out_is_dominated_and_what_stays_is_not(pairs):
    kept = [pair for pair, stays in zip(pairs, undominated(pairs), strict=True) if stays]
    assert kept
    for pair, stays in zip(pairs, undominated(pairs), strict=True):
        better = [k for k in kept if k != pair and k[0] <= pair[0] and k[1] >= pair[1]]
        assert bool(better) is not stays
