"""Means of qualities are over prompts and seeds, and repeats of a picture count once."""

import math
from dataclasses import replace
from statistics import fmean, stdev

import pytest

from wattbench.analysis.quality import quality_estimate
from wattbench.analysis.runs_table import runs_frame
from wattbench.analysis.summary import summarise
from wattbench.records import Quality
from wattbench.stats import estimate

VALUES = {("a", 1): 0.30, ("a", 2): 0.31, ("b", 1): 0.20, ("b", 2): 0.22, ("c", 1): 0.26}


@pytest.fixture
def frame(make_run):
    """A function that makes a table of runs with a CLIP score for each prompt and seed."""

    def make(values, visits=(1,)):
        condition = replace(make_run().condition, prompts="set 1")
        runs = [
            make_run(
                f"{prompt}{seed}{visit}",
                condition=condition,
                prompt=prompt,
                seed=seed,
                visit=visit,
                quality=(
                    Quality(
                        "clip_score", value, "", "m.safetensors sha256 00", "" if value else "x"
                    ),
                    Quality("entropy", 7.0, "bit"),
                ),
            )
            for visit in visits
            for (prompt, seed), value in values.items()
        ]
        return runs_frame(runs)

    return make


def score_of(frame):
    return quality_estimate(frame, "quality_clip_score", "")


def test_each_prompt_weighs_the_same_and_intervals_are_over_prompts(frame):
    found = score_of(frame(VALUES))
    over_prompts = estimate([0.305, 0.21, 0.26], "")
    assert found.value == pytest.approx(over_prompts.value)
    assert found.half_width == pytest.approx(over_prompts.half_width)
    assert (found.n, found.stdev) == (5, pytest.approx(stdev(VALUES.values())))


def test_of_one_prompt_the_interval_is_over_its_seeds(frame):
    own = {("a", seed): 0.3 + seed / 100 for seed in range(4)}
    expected = estimate(list(own.values()), "")
    found = score_of(frame(own))
    assert (found.value, found.half_width) == pytest.approx((expected.value, expected.half_width))


def test_the_same_pictures_of_another_process_tell_nothing_new(frame):
    one, two = score_of(frame(VALUES)), score_of(frame(VALUES, visits=(1, 2)))
    assert (two.value, two.half_width, two.n) == pytest.approx((one.value, one.half_width, one.n))


def test_blanks_are_left_out_and_told(frame):
    table = frame({**VALUES, ("c", 1): None})
    assert score_of(table).n == 4
    assert table["quality_note"].tolist()[-1] == "clip_score: x"
    assert set(table["quality_models"]) == {"clip_score: m.safetensors sha256 00"}
    assert score_of(frame({("a", 1): None})) is None


def test_one_picture_has_no_interval(frame):
    found = score_of(frame({("a", 1): 0.3}))
    assert (found.value, found.n) == (0.3, 1)
    assert math.isnan(found.half_width)


def test_the_summary_has_them(frame):
    row = summarise(frame(VALUES)).iloc[0]
    assert row["quality_clip_score_mean"] == pytest.approx(fmean([0.305, 0.21, 0.26]))
    assert (row["quality_clip_score_n"], row["quality_entropy_n"], row["quality_ssim_n"]) == (
        5,
        5,
        0,
    )
    assert row["quality_entropy_mean"] == 7
    assert row["n"] == 5
