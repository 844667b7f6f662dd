"""Two summaries beside each other: what is compared with what, and how sure that is."""

import math
from dataclasses import replace

import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.beside import (
    BROKEN,
    OTHER_METER,
    OTHER_WORK,
    SEVERAL_METERS,
    beside,
    together,
)
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


def test_all_conditions_of_both_stand_on_one_axis(summary_of):
    both = together(summary_of({"sdpa": 10, "sage_2": 5}), summary_of({"sdpa": 20}))
    assert both.files == (0, 0, 1)
    assert both.labels == ("sdpa", "sage_2", "sdpa")
    joules, seconds, memory = both.measures
    assert [value.n for value in joules.values] == [4, 4, 4]
    assert [value.value for value in seconds.values] == pytest.approx([6.0075, 3.5075, 11.0075])
    for measure in both.measures:
        assert measure.note == ""
        for value in measure.values:
            assert measure.axis.low <= value.ci_low <= value.value <= value.ci_high
            assert value.ci_high <= measure.axis.high
    assert memory.measure.unit == "GiB"


def test_a_single_run_has_no_interval_on_the_axis(summary_of):
    summary = summary_of({"sdpa": 10})
    one = summary.assign(n=1, **{f"{name}_n": 1 for name in ("j_per_img", "s_per_img")})
    value = together(summary, one).measures[0].values[1]
    assert (value.value, value.n) == (pytest.approx(1201.5), 1)
    assert math.isnan(value.ci_low)


def test_joules_of_two_meters_are_marked_where_both_stand(summary_of):
    own = summary_of({"sdpa": 10})
    other = own.assign(energy_meter="another")
    assert [one.note for one in together(own, other).measures] == [SEVERAL_METERS, "", ""]
    unknown = other.assign(j_per_img_mean=math.nan)
    joules = together(own, unknown).measures[0]
    assert (joules.note, joules.values[1]) == ("", None)


def test_what_has_no_run_that_counts_stands_nowhere(summary_of):
    own = summary_of({"sdpa": 10, "sage_2": 5})
    assert together(own, own.assign(n=[4, 0])).files == (0, 0, 1)


def test_whole_numbers_stay_whole_beside_a_blank(summary_of):
    own = summary_of({"sdpa": 10, "sage_2": 5})
    blank = own.assign(steps=[21, None])
    assert together(own, blank).labels[2] == "21 steps, sdpa"
