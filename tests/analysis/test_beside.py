"""Two summaries beside each other: what is compared with what, and how sure that is."""

from dataclasses import replace

import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.beside import BROKEN, OTHER_METER, OTHER_WORK, beside
from wattbench.records import PictureCheck

from ..made_runs import CONDITION


@pytest.fixture
def summary_of(make_run):
    """A function that makes a summary of conditions ``{attention: seconds of denoising}``."""

    def make(costs, change=lambda run: run, **changes):
        runs = []
        for attention, denoise_s in costs.items():
            condition = replace(CONDITION, attention=attention, **changes)
            for seed in range(4):
                name = f"{attention} {seed} {denoise_s} {changes}"
                run = make_run(name, denoise_s + 0.01 * seed, seed=seed, condition=condition)
                runs.append(change(run))
        return Analysis.of(runs).summary

    return make


def test_equal_conditions_meet_in_whatever_order(summary_of):
    found = beside(
        summary_of({"sdpa": 10, "sage_2": 5, "flash_2": 4}), summary_of({"sage_2": 2.5, "sdpa": 10})
    )
    assert [(pair.own, pair.other) for pair in found] == [(0, 1), (1, 0)]
    same, half = found
    assert same.ratios["j_per_img"].value == pytest.approx(1)
    assert same.ratios["j_per_img"].ci_low < 1 < same.ratios["j_per_img"].ci_high
    assert half.ratios["s_per_img"].ci_high < 1
    assert half.notes == ()


def test_what_is_left_of_one_work_differs_by_intent(summary_of):
    (pair,) = beside(summary_of({"sdpa": 10}), summary_of({"sage_2": 5}))
    assert pair.ratios["j_per_img"].ci_high < 1
    assert pair.notes == ("attention sdpa → sage_2",)
    assert beside(summary_of({"sdpa": 10}), summary_of({"sage_2": 5, "flash_2": 4})) == []


@pytest.mark.parametrize("other", [{"steps": 21}, {"width_px": 64}, {"model": "b"}])
def test_other_work_is_not_compared(summary_of, other):
    assert beside(summary_of({"sdpa": 10}), summary_of({"sdpa": 10}, **other)) == []


def test_work_that_was_counted_otherwise_has_no_ratio(summary_of):
    (pair,) = beside(
        summary_of({"sdpa": 10}, work="20 forwards"), summary_of({"sdpa": 10}, work="40 forwards")
    )
    assert (pair.ratios, pair.notes) == ({}, (OTHER_WORK,))


def test_energies_of_two_meters_have_no_ratio(summary_of):
    def elsewhere(run):
        own = replace(run.phases[0].energy, meter="estimate")
        return replace(run, phases=tuple(replace(one, energy=own) for one in run.phases))

    (pair,) = beside(summary_of({"sdpa": 10}), summary_of({"sdpa": 5}, elsewhere))
    assert set(pair.ratios) == {"s_per_img", "peak_vram_bytes"}
    assert pair.notes == (OTHER_METER,)


def test_a_broken_picture_saves_nothing(summary_of):
    def broken(run):
        return replace(run, picture=PictureCheck("", fault="black"))

    (pair,) = beside(summary_of({"sdpa": 10}), summary_of({"sdpa": 5}, broken))
    assert (pair.ratios, pair.notes) == ({}, (BROKEN,))


def test_another_environment_is_told(summary_of):
    def elsewhere(run):
        return replace(run, environment=replace(run.environment, driver="999"))

    (pair,) = beside(summary_of({"sdpa": 10}), summary_of({"sdpa": 5}, elsewhere))
    assert pair.notes == ("another environment (driver)",)
    assert "j_per_img" in pair.ratios
