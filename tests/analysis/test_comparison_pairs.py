"""Which runs make a pair, and which values a ratio is taken over."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.comparison import NO_PAIRS
from wattbench.analysis.summary import summarise
from wattbench.report import runs_frame
from wattbench.report.translation import translator


@pytest.fixture
def arm(make_run):
    """A function that makes an arm's runs of ``(visit, seed, repeat, seconds)`` each."""

    def make(name, *rows, **changes):
        condition = replace(make_run().condition, attention=name)
        return [
            make_run(
                f"{name} {number}",
                denoise_s=seconds,
                condition=condition,
                visit=visit,
                seed=seed,
                repeat=repeat,
                **changes,
            )
            for number, (visit, seed, repeat, seconds) in enumerate(rows)
        ]

    return make


def compared(*arms):
    return summarise(runs_frame([run for runs in arms for run in runs])).iloc[1]


def test_one_seed_for_all_is_paired_by_repeat(arm):
    base = arm("a", (1, 7, 0, 10.0), (1, 7, 1, 20.0), (1, 7, 2, 40.0))
    row = compared(base, arm("b", (1, 7, 2, 20.0), (1, 7, 0, 5.0), (1, 7, 1, 10.0)))
    assert row["pairs"] == 3
    assert row["it_per_s_ratio"] == pytest.approx(2.0)
    assert row["it_per_s_ratio_high"] == pytest.approx(2.0), "each pair says the same"


@pytest.mark.parametrize("is_baseline", [True, False])
def test_a_seed_that_one_arm_has_twice_is_paired_once(arm, is_baseline):
    """By its repeat; the other arm's run stands for one pair and not for two."""
    twice = ((1, 1, 0, 10.0), (1, 1, 1, 11.0), (1, 2, 2, 12.0))
    once = ((1, 1, 0, 5.0), (1, 2, 2, 6.0), (1, 3, 1, 7.0))
    base, treatment = (twice, once) if is_baseline else (once, twice)
    row = compared(arm("a", *base), arm("b", *treatment))
    assert row["pairs"] == 2
    assert row["it_per_s_ratio"] == pytest.approx(2.0 if is_baseline else 0.5)


@pytest.mark.parametrize("is_baseline", [True, False])
def test_a_run_measured_again_takes_no_second_part(arm, is_baseline):
    """The same visit, seed and repeat twice, as where a folder was exported into twice."""
    rows = ((1, 1, 0, 10.0), (1, 2, 1, 10.0), (1, 3, 2, 10.0))
    again = (*rows, (1, 1, 0, 1000.0), (1, 2, 1, 1000.0))
    base, treatment = (again, rows) if is_baseline else (rows, again)
    row = compared(arm("a", *base), arm("b", *treatment))
    assert row["pairs"] == 3
    assert row["it_per_s_ratio"] == pytest.approx(1.0)


def test_runs_without_a_seed_or_of_another_visit_are_no_pairs(arm):
    base = arm("a", (1, 1, 0, 10.0), (1, 2, 1, 10.0), (1, None, 2, 10.0))
    row = compared(base, arm("b", (1, 1, 0, 5.0), (2, 2, 1, 5.0), (1, None, 2, 5.0)))
    assert (row["pairs"], row["comparison_note"]) == (1, NO_PAIRS)
    assert pd.isna(row["it_per_s_ratio"])


def test_a_value_below_one_is_a_value_and_zero_is_none(arm):
    """0.03 it/s is a slow machine; 0 J is a meter that said nothing, and has no logarithm."""
    base = arm("a", *((1, seed, seed, 1000.0) for seed in (1, 2, 3)))
    treatment = arm("b", *((1, seed, seed, 2000.0) for seed in (1, 2, 3)))
    row = compared(base, treatment)
    assert row["it_per_s_ratio"] == pytest.approx(0.5)
    empty = replace(treatment[0], energy=replace(treatment[0].energy, energy_j=0.0))
    row = compared(base, [empty, *treatment[1:]])
    assert row["j_per_img_ratio"] == pytest.approx(2002 / 1002)
    row = compared(base, [empty, replace(empty, seed=2, repeat=2), treatment[2]])
    assert pd.isna(row["j_per_img_ratio"]), "one pair of energy is left"
    assert row["it_per_s_ratio"] == pytest.approx(0.5)


def test_visits_are_means_of_logarithms(arm):
    """Ratios 2 and 8 in one visit are 4, and 1 in the other: 2 over both."""
    base = arm("a", (1, 1, 0, 16.0), (1, 2, 1, 16.0), (2, 1, 0, 16.0), (2, 2, 1, 16.0))
    treatment = arm("b", (1, 1, 0, 8.0), (1, 2, 1, 2.0), (2, 1, 0, 16.0), (2, 2, 1, 16.0))
    row = compared(base, treatment)
    assert row["it_per_s_ratio"] == pytest.approx(2.0)
    # Two values, ln 4 and 0: the interval is that of one degree of freedom.
    half = 12.7062 * math.log(4) / 2
    assert row["it_per_s_ratio_high"] == pytest.approx(2 * math.exp(half), rel=1e-4)


def test_where_not_all_runs_are_paired_the_table_says_how_many(arm):
    base = arm("a", *((1, seed, seed, 10.0) for seed in range(4)))
    all_paired = arm("b", *((1, seed, seed, 5.0) for seed in range(4)))
    partly = arm("c", *((1, seed, seed, 5.0) for seed in range(1, 4)))
    notes = Analysis.of([*base, *all_paired, *partly]).notes
    [said] = [note for note in notes if "paired" in note]
    assert said == "× of c: 3 of 4 runs paired."
    assert translator("pt-BR")(said) == "× de c: 3 de 4 execuções pareadas."


def test_pictures_of_another_prompt_are_no_pairs(arm):
    """Two prompts with the same seeds: each run meets that of its prompt, in whatever order."""
    rows = ((1, 1, 0, 10.0), (1, 1, 1, 40.0), (1, 2, 2, 10.0), (1, 2, 3, 40.0))
    base, treatment = (
        [replace(run, prompt="ab"[i % 2]) for i, run in enumerate(arm(name, *rows))]
        for name in ("a", "b")
    )
    treatment = [replace(run, repeat=3 - run.repeat) for run in treatment]
    row = compared(base, treatment)
    assert (row["pairs"], row["it_per_s_ratio"]) == (4, pytest.approx(1.0))
    assert row["it_per_s_ratio_high"] == pytest.approx(1.0)
