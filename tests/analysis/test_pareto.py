"""Fronts and the verdict: who is beaten by whom."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.pareto import front
from wattbench.records import KernelCalls, PictureCheck

from ..made_runs import CONDITION, ENVIRONMENT, make_phases, reading

NOISES = (1.0, 1.01, 0.992)
COSTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1)


@given(COSTS)
def test_whoever_is_not_on_the_front_is_beaten_by_somebody_who_is(costs):
    marked = front(costs)
    best = [cost for cost, is_on in zip(costs, marked, strict=True) if is_on]
    for (x, y), is_on in zip(costs, marked, strict=True):
        beaten = any(a <= x and b <= y and (a < x or b < y) for a, b in best)
        assert is_on is not beaten


@pytest.fixture
def make_analysis(make_run):
    """Of runs of attentions whose powers are given, 12 s each, three seeds."""

    def make(powers_w, **changes):
        runs = []
        for turn, (attention, power_w) in enumerate(powers_w.items()):
            for seed, noise in enumerate(NOISES):
                own_w = power_w * NOISES[(seed + turn) % 3] * noise**turn
                given = {"energy": reading(12.0, own_w), **changes.get(attention, {})}
                run = make_run(f"{attention} {seed}", seed=seed, repeat=seed)
                runs.append(
                    replace(run, condition=replace(CONDITION, attention=attention), **given)
                )
        return Analysis.of(runs)

    return make


def test_the_better_one_wins_and_the_interval_is_for_all(make_analysis):
    one = make_analysis({"sdpa": 200.0, "sage": 150.0}).verdicts[0]
    both = make_analysis({"sdpa": 200.0, "sage": 150.0, "flash": 190.0}).verdicts[0]
    assert (one.outcome, one.best, one.compared) == ("better", 1, 1)
    assert (both.outcome, both.best, both.compared) == ("better", 1, 2)
    assert one.ratio.confidence == pytest.approx(0.95)
    assert both.ratio.confidence == pytest.approx(0.975)
    assert both.ratio.half_width > one.ratio.half_width


def test_a_baseline_that_all_others_lose_against_is_kept(make_analysis):
    verdict = make_analysis({"sdpa": 150.0, "sage": 200.0, "flash": 250.0}).verdicts[0]
    assert (verdict.outcome, verdict.best) == ("worse", 1)


def test_what_is_alike_is_called_alike(make_analysis):
    assert make_analysis({"sdpa": 200.0, "sage": 200.2}).verdicts[0].outcome == "alike"


@pytest.mark.parametrize(
    "spoilt",
    [
        {"picture": PictureCheck("", "the picture is black")},
        {"kernel_calls": (KernelCalls("attention", "sage", "sdpa", 9, None, "a mask"),)},
        {"environment": replace(ENVIRONMENT, driver="590.1")},
        {"energy": reading(12.0, 1.0, meter="hwmon:0"), "phases": make_phases(meter="hwmon:0")},
    ],
    ids=["broken", "fell back", "elsewhere", "another meter"],
)
def test_what_is_no_saving_never_wins(make_analysis, spoilt):
    verdict = make_analysis({"sdpa": 200.0, "flash": 190.0, "sage": 100.0}, sage=spoilt).verdicts[0]
    assert (verdict.outcome, verdict.best) == ("better", 1)
    assert [row for row, _ in verdict.left_out] == ([] if "energy" in spoilt else [2])


def test_without_energy_speed_is_judged(make_analysis):
    none = {"energy": None, "energy_note": "no meter", "phases": ()}
    bare = make_analysis({"sdpa": 1.0, "sage": 1.0}, sdpa=none, sage=none)
    assert bare.verdicts[0].outcome == "unpaired"
    none.pop("phases")
    timed = make_analysis({"sdpa": 1.0, "sage": 1.0}, sdpa=none, sage=none)
    assert timed.verdicts[0].metric == "it_per_s"


@pytest.mark.parametrize(
    ("powers_w", "outcome"), [({}, "nothing"), ({"sdpa": 200.0}, "alone")], ids=["none", "one"]
)
def test_fewer_than_two_conditions(make_analysis, powers_w, outcome):
    assert make_analysis(powers_w).verdicts[0].outcome == outcome


def test_fronts_are_of_equal_work_in_equal_environments(make_analysis):
    elsewhere = {"environment": replace(ENVIRONMENT, gpu_name="another", gpu_uuid="GPU-2")}
    points = make_analysis({"a": 200.0, "b": 100.0, "c": 300.0}, c=elsewhere).trade_offs
    assert [(p.row, p.is_on_front) for p in points] == [(0, False), (1, True), (2, True)]


def test_a_broken_picture_is_on_no_front(make_analysis):
    broken = {"picture": PictureCheck("", "the picture is flat")}
    points = make_analysis({"a": 200.0, "b": 100.0}, b=broken).trade_offs
    assert [(p.is_on_front, p.left_out) for p in points] == [(True, ""), (False, "broken picture")]
