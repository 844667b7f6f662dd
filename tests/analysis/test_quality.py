"""Means of qualities are over prompts and seeds, and repeats of a picture count once."""

import math
from dataclasses import replace
from statistics import fmean, stdev

import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.quality import quality_estimate
from wattbench.analysis.runs_table import runs_frame
from wattbench.analysis.summary import summarise
from wattbench.records import Quality
from wattbench.report.html import as_html
from wattbench.report.markdown import as_markdown
from wattbench.stats import estimate

from ..made_runs import reading

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


SCORES = {(prompt, seed): 0.30 + n / 100 for n, prompt in enumerate("abc") for seed in (1, 2)}


@pytest.fixture
def analysis(make_run):
    """A function that makes conditions of a power in W, a loss of CLIP score and its noise."""

    def make(arms, **changes):
        runs = []
        for name, (power_w, lost, noise) in arms.items():
            condition = replace(make_run().condition, prompts="set 1", attention=name, batch_size=1)
            condition = replace(condition, **changes.get(name, {}))
            for n, ((prompt, seed), score) in enumerate(SCORES.items()):
                value = score - lost + noise * (-1) ** n
                runs.append(
                    make_run(
                        f"{name} {prompt}{seed}",
                        condition=condition,
                        prompt=prompt,
                        seed=seed,
                        repeat=n,
                        energy=reading(12.0, power_w * (1 + n % 2 / 1000)),
                        quality=(Quality("clip_score", value, "", "m sha256 0"),),
                    )
                )
        return Analysis.of(runs)

    return make


def points_of(analysis):
    [(metric, points)] = analysis.quality_trade_offs
    assert metric.name == "clip_score"
    return points


def test_the_price_of_a_lost_point(analysis):
    """2400 J less 1200 J for two points of 0.01 each; both lie on the front."""
    first, second = points_of(analysis({"sdpa": (200.0, 0.0, 0), "sage": (100.0, 0.02, 0.0)}))
    assert (first.note, first.lost, first.saved_j_per_point) == ("baseline", None, None)
    assert second.lost.value == pytest.approx(2)
    value, low, high = second.saved_j_per_point
    assert value == pytest.approx(600.3, abs=0.1)
    assert low < value < high
    assert (first.is_on_front, second.is_on_front) == (True, True)


@pytest.mark.parametrize(
    ("arm", "note"),
    [
        ((100.0, 0.0, 0.0), "no worse that could be told"),
        ((100.0, -0.02, 0.0), "better"),
        ((200.0, 0.02, 0.0), "no less energy"),
        ((250.0, 0.02, 0.0), "no less energy"),
    ],
)
def test_why_there_is_no_price(analysis, arm, note):
    second = points_of(analysis({"sdpa": (200.0, 0.0, 0), "sage": arm}))[1]
    assert second.saved_j_per_point is None
    assert note in second.note


def test_the_interval_decides_whether_a_loss_is_told(analysis):
    """One prompt of three got better: over their means nothing is told."""
    frame = analysis({"sdpa": (200.0, 0.0, 0), "sage": (100.0, 0.001, 0.0)}).frame
    mask = (frame["attention"] == "sage") & (frame["prompt_id"] == "a")
    frame.loc[mask, "quality_clip_score"] += 0.01
    second = points_of(Analysis(frame))[1]
    assert second.lost.ci_low < 0 < second.lost.ci_high
    assert "could be told" in second.note


def test_what_is_broken_or_beaten_is_on_no_front(analysis):
    arms = {"sdpa": (200.0, 0.0, 0), "dear": (250.0, 0.01, 0), "broken": (50.0, -0.1, 0)}
    whole = analysis(arms)
    whole.frame.loc[whole.frame["attention"] == "broken", "picture_fault"] = "the picture is black"
    first, dear, broken = points_of(Analysis(whole.frame))
    assert [p.is_on_front for p in (first, dear, broken)] == [True, False, False]
    assert broken.left_out == "broken picture"


def test_other_prompts_or_another_clip_are_another_table(analysis):
    arms = {"sdpa": (200.0, 0.0, 0), "sage": (100.0, 0.02, 0)}
    apart = analysis(arms, sage={"prompts": "set 2"}).quality_trade_offs
    assert [len(points) for _, points in apart] == [1, 1]
    frame = analysis(arms).frame
    frame.loc[frame["attention"] == "sage", "quality_models"] = "clip_score: other sha256 1"
    assert [len(points) for _, points in Analysis(frame).quality_trade_offs] == [1, 1]
    assert len(points_of(analysis(arms, sage={"steps": 4}))) == 2, "fewer steps are the point"


def test_metrics_that_judge_nothing_have_no_table(make_run):
    run = make_run(quality=(Quality("sharpness", 500.0, ""),))
    assert Analysis.of([run]).quality_trade_offs == []


def test_the_reports_show_it(analysis):
    whole = analysis({"sdpa": (200.0, 0.0, 0), "sage": (100.0, 0.02, 0.0)})
    text = as_markdown(whole)
    assert "## Energy against quality" in text
    assert "| clip_score, higher is better | Lost, in points of 0.01 |" in text
    row = next(line for line in text.splitlines() if "600 (" in line)
    assert row.endswith("| yes |")
    page = as_html(whole)
    assert "clip_score, higher is better" in page
    assert "600 (" in page
    portuguese = as_html(whole, (), "pt-BR")
    assert "J poupados por ponto perdido" in portuguese
    assert "clip_score, mais é melhor" in portuguese
