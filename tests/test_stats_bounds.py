"""Statistics at the fewest values that have any, and against their formulas."""

import math
from itertools import pairwise
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from wattbench.stats import (
    by_visit,
    drift,
    estimate,
    lag1_autocorrelation,
    paired_ratio,
    student_t,
)

VALUES = st.lists(st.floats(0.1, 1e4), min_size=2, max_size=12)


@given(VALUES, st.floats(0.5, 0.999))
def test_an_estimate_is_mean_and_t_interval(values, confidence):
    found = estimate(values, "J", confidence)
    half = student_t(len(values) - 1, confidence) * stdev(values) / math.sqrt(len(values))
    assert found.value == pytest.approx(fmean(values))
    assert found.stdev == pytest.approx(stdev(values), abs=1e-9)
    assert found.half_width == pytest.approx(half, abs=1e-6)
    assert found.ci_low + found.ci_high == pytest.approx(2 * found.value)
    assert (found.n, found.unit, found.confidence) == (len(values), "J", confidence)


def test_one_value_is_its_own_mean_and_says_no_more():
    found = estimate([3.0], "s", 0.9)
    assert (found.value, found.n, found.unit, found.confidence) == (3.0, 1, "s", 0.9)
    assert all(math.isnan(x) for x in (found.ci_low, found.ci_high, found.stdev))


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 1.1])
def test_a_confidence_lies_between_the_ends(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        estimate([1.0, 2.0], "s", confidence)


@given(VALUES, st.data())
def test_a_ratio_is_the_geometric_mean_of_pairs(first, data):
    size = {"min_size": len(first), "max_size": len(first)}
    second = data.draw(st.lists(st.floats(0.1, 1e4), **size))
    found = paired_ratio(first, second, ("x", "y"), 0.9)
    logs = [math.log(b / a) for a, b in zip(first, second, strict=True)]
    expected = estimate(logs, "", 0.9)
    assert (found.baseline, found.treatment) == ("x", "y")
    ratio = found.ratio
    assert ratio.value == pytest.approx(math.exp(fmean(logs)))
    assert (ratio.ci_low, ratio.ci_high) == pytest.approx(
        (math.exp(expected.ci_low), math.exp(expected.ci_high))
    )
    assert (ratio.n, ratio.unit, ratio.confidence) == (len(first), "1", 0.9)
    assert ratio.stdev == pytest.approx(stdev(logs), abs=1e-9)


@pytest.mark.parametrize("values", [(0.0, 1.0), (-1.0, 1.0)])
def test_a_ratio_needs_positive_values_in_both_arms(values):
    assert paired_ratio([1e-9, 1.0], [1e-9, 1.0]).ratio.value == pytest.approx(1.0)
    for arms in ((values, (1.0, 1.0)), ((1.0, 1.0), values)):
        with pytest.raises(ValueError, match="positive"):
            paired_ratio(*arms)


def test_two_pairs_are_the_fewest():
    assert paired_ratio([1.0, 2.0], [2.0, 4.0]).ratio.n == 2
    for arms in (([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([], [])):
        with pytest.raises(ValueError, match="at least two"):
            paired_ratio(*arms)


def test_three_values_are_the_fewest_that_drift():
    found = drift([1.0, 2.0, 3.5])
    line = scipy_stats.linregress([0, 1, 2], [1.0, 2.0, 3.5])
    assert found.relative_slope == pytest.approx(1.25 / (6.5 / 3))
    assert found.p_value == pytest.approx(line.pvalue)
    assert lag1_autocorrelation([1.0, 2.0, 3.0]) == 0.0
    for statistic in (drift, lag1_autocorrelation):
        with pytest.raises(ValueError, match="three values or more, got 2"):
            statistic([1.0, 2.0])


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=20))
def test_autocorrelation_is_that_of_each_value_with_the_next(values):
    deviations = [value - fmean(values) for value in values]
    power = sum(d * d for d in deviations)
    expected = sum(a * b for a, b in pairwise(deviations)) / (power or 1)
    assert lag1_autocorrelation(values) == pytest.approx(expected, abs=1e-9)


def test_values_of_visits():
    nan = math.nan
    assert by_visit([1.0, nan, 3.0], [1, 1, 1]) == [1.0, 3.0]
    assert by_visit([1.0, 3.0, 10.0, nan], [1, 1, 2, 2]) == [2.0, 10.0]
    assert by_visit([nan, 3.0, 10.0], [1, 2, 2]) == [6.5], "a visit without a value has no mean"
    assert by_visit([5.0, 1.0, 7.0], [2, 1, 2]) == [6.0, 1.0], "in the order of their first run"
    assert by_visit([], []) == []
    assert by_visit([nan, 4.0], [1, 2]) == [4.0]
    assert isinstance(estimate(np.array([1.0, 2.0]), "s").value, float)
