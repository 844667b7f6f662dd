"""Intervals agree with scipy and with the study; ratios come from pairs."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from wattbench.stats import (
    by_visit,
    drift,
    estimate,
    lag1_autocorrelation,
    paired_ratio,
    ratio_of_means,
    student_t,
    unpaired_ratio,
)


def test_interval_agrees_with_scipy():
    values = [9.81, 9.92, 9.60, 10.05, 9.77]
    result = estimate(values, "it/s")
    low, high = scipy_stats.t.interval(
        0.95, len(values) - 1, loc=scipy_stats.tmean(values), scale=scipy_stats.sem(values)
    )
    assert result.ci_low == pytest.approx(low)
    assert result.ci_high == pytest.approx(high)
    assert result.stdev == pytest.approx(scipy_stats.tstd(values))
    assert (result.n, result.unit, result.confidence) == (5, "it/s", 0.95)


def test_half_width_of_the_study():
    """Table 2, RTX 5090: sigma 0.055 with n = 10 gives an interval of 0.039."""
    unit = [-1, 1] * 5
    scale = 0.055 / scipy_stats.tstd(unit)
    result = estimate([2.814 + scale * value for value in unit], "it/s")
    assert result.stdev == pytest.approx(0.055)
    assert result.half_width == pytest.approx(0.039, abs=5e-4)


def test_critical_value_of_ten_repeats():
    assert student_t(9, 0.95) == pytest.approx(2.262, abs=5e-4)


def test_one_value_has_no_spread():
    result = estimate([3.0], "s")
    assert result.value == 3.0
    assert math.isnan(result.stdev)
    assert math.isnan(result.half_width)


@pytest.mark.parametrize(("values", "confidence"), [([], 0.95), ([1.0], 0.0), ([1.0], 1.0)])
def test_refuses_what_has_no_meaning(values, confidence):
    with pytest.raises(ValueError, match=r"no values|confidence"):
        estimate(values, "s", confidence)


def test_paired_ratio_cancels_what_pairs_share():
    baseline = [1.0, 2.0, 4.0, 8.0]
    ratio = paired_ratio(baseline, [value * 1.1 for value in baseline]).ratio
    assert ratio.value == pytest.approx(1.1)
    assert ratio.half_width == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("baseline", "treatment"), [([1.0, 2.0], [1.0]), ([1.0], [1.0]), ([1.0, 0.0], [1.0, 1.0])]
)
def test_paired_ratio_refuses(baseline, treatment):
    with pytest.raises(ValueError, match=r"pairs needed|positive"):
        paired_ratio(baseline, treatment)


def test_drift_agrees_with_scipy():
    values = [10.0, 10.2, 10.1, 10.5, 10.4, 10.9, 10.8, 11.2]
    expected = scipy_stats.linregress(range(len(values)), values)
    found = drift(values)
    assert found.relative_slope == pytest.approx(expected.slope / 10.5125)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.p_value < 0.01


def test_autocorrelation_of_known_series():
    """By hand: deviations -1.5, -0.5, 0.5, 1.5 give (0.75 - 0.25 + 0.75) / 5."""
    assert lag1_autocorrelation([1.0, 2.0, 3.0, 4.0]) == pytest.approx(0.25)
    assert lag1_autocorrelation([1.0, -1.0] * 50) == pytest.approx(-0.99)
    assert lag1_autocorrelation([2.0, 2.0, 2.0]) == 0.0


@pytest.mark.parametrize("test", [drift, lag1_autocorrelation])
def test_two_values_say_nothing_of_independence(test):
    with pytest.raises(ValueError, match="three values"):
        test([1.0, 2.0])


def test_repeats_of_a_visit_are_one_value_where_there_are_several():
    assert by_visit([1.0, 3.0, math.nan], [1, 1, 1]) == [1.0, 3.0]
    assert by_visit([1.0, 3.0, 8.0, math.nan], [1, 1, 2, 2]) == [2.0, 8.0]
    # Known in one of two visits only: one value, which has no interval.
    assert by_visit([1.0, 3.0, math.nan], [1, 1, 2]) == [2.0]
    assert by_visit([], []) == []


def test_a_ratio_of_means_is_about_that_of_the_values():
    """Of small spreads: the logarithm is nearly straight there."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(100, 2, 8), rng.normal(80, 3, 5)
    exact = unpaired_ratio(first, second)
    known = ratio_of_means(estimate(list(first), "J"), estimate(list(second), "J"))
    for part in ("value", "ci_low", "ci_high"):
        assert getattr(known, part) == pytest.approx(getattr(exact, part), rel=2e-3)


def test_a_ratio_of_means_needs_two_values_a_side_for_an_interval():
    one, two = estimate([100.0], "J"), estimate([50.0, 52.0], "J")
    assert ratio_of_means(one, two).value == 0.51
    assert math.isnan(ratio_of_means(one, two).ci_low)
    assert ratio_of_means(two, two).ci_low < 1 < ratio_of_means(two, two).ci_high
    with pytest.raises(ValueError, match="positive"):
        ratio_of_means(estimate([0.0, 0.0], "J"), two)
