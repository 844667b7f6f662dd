"""Scores, costs and turning points by their formulas and at their bounds."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.law.breakeven import Range, break_even
from wattbench.law.cost import Tariff, emissions_g, price
from wattbench.law.race_to_idle import CapPoint, energy_with_idle, idle_power_that_pays, period
from wattbench.law.scores import held_out, k_fold, leave_one_out, score
from wattbench.records import Estimate


def point(name, energy_j, time_s, half_j=1.0):
    return CapPoint(
        name, Estimate(energy_j, energy_j - half_j, energy_j + half_j, 0.95, 5, "J/img", 1.0),
        time_s, "",
    )  # fmt: skip


def test_scores_by_hand():
    """Actual e and e³, predicted e² and e³: one logarithm is off by 1, and they spread by 2."""
    found = score([math.e, math.e**3], [math.e**2, math.e**3])
    assert found.n == 2
    assert found.r2 == pytest.approx(1 - 1 / 2)
    assert found.mae_j == pytest.approx((math.e**2 - math.e) / 2)
    assert found.mape == pytest.approx((math.e - 1) / 2)
    assert (found.pearson, found.spearman) == pytest.approx((1.0, 1.0))


def test_scores_tell_logarithms_from_ranks():
    actual, predicted = [1.0, 10.0, 100.0, 1000.0], [1.0, 100.0, 10.0, 900.0]
    found = score(actual, predicted)
    assert found.spearman == pytest.approx(0.8)
    expected = np.corrcoef(np.log(actual), np.log(predicted))[0, 1]
    assert found.pearson == pytest.approx(expected)
    assert found.r2 < found.pearson


@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
def test_what_has_no_score():
    assert math.isnan(score([2.0, 2.0], [1.0, 3.0]).r2), "nothing to explain"
    for pair in (([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([], [])):
        with pytest.raises(ValueError, match="at least two"):
            score(*pair)


@given(st.integers(2, 40), st.integers(2, 6), st.integers(0, 5))
def test_folds_hold_every_row_out_once(rows, k, seed):
    folds = list(k_fold(rows, k, seed))
    assert [name for name, _ in folds] == [f"fold {n}" for n in range(1, k + 1)]
    assert (np.sum([mask for _, mask in folds], axis=0) == 1).all()
    sizes = [mask.sum() for _, mask in folds]
    assert max(sizes) - min(sizes) <= 1


def test_each_label_is_left_out_in_turn():
    labels = pd.Series(["a", "b", "a"])
    assert [(name, mask.tolist()) for name, mask in leave_one_out(labels)] == [
        ("a", [True, False, True]),
        ("b", [False, True, False]),
    ]


def test_what_is_held_out_is_not_fitted_to_and_covered_to_the_ends():
    frame = pd.DataFrame({"energy_j": [1.0, 2.0, 4.0, 8.0], "architecture": list("wxyz")})
    asked = []

    class Mean:
        def __init__(self, fitted):
            self.value = fitted["energy_j"].mean()

        def predict(self, test, confidence):
            asked.append(confidence)
            values = {"value": self.value, "low": self.value - 3.5, "high": self.value + 1}
            return pd.DataFrame(values, index=test.index)

    folds = [("one", np.array([True, False, False, False])), ("two", np.arange(4) >= 2)]
    found = held_out(frame, Mean, iter(folds), 0.8)
    assert found["held_out"].tolist() == ["one", "two", "two"]
    assert found["architecture"].tolist() == ["w", "y", "z"]
    assert found["value"].tolist() == pytest.approx([14 / 3, 1.5, 1.5])
    assert found["actual_j"].tolist() == [1.0, 4.0, 8.0]
    assert found["covered"].tolist() == [False, False, False]
    assert asked == [0.8, 0.8]
    ends = held_out(
        frame, Mean, iter([("low", np.arange(4) == 1), ("high", np.arange(4) >= 1)]), 0.5
    )
    # The mean of 1, 4 and 8 is 13/3; that of 1 alone is 1, whose high end is 2.
    assert ends["covered"].tolist() == [True, True, False, False]


def test_a_kilowatt_hour_by_hand():
    assert emissions_g(3.6e6, 400.0) == 400.0
    assert price(1.8e6, 0.3) == pytest.approx(0.15)
    assert Tariff(400.0, 0.3, "CHF").costs(3.6e6) == {"g CO2e": 400.0, "CHF": 0.3}
    assert Tariff(0.0, 0.0).costs(3.6e6) == {"g CO2e": 0.0, "EUR": 0.0}, "free and clean is known"
    hours = Tariff(400.0, 0.3, "CHF", price_per_hour=2.0, pue=1.5)
    assert hours.costs(3.6e6, 1800.0) == {
        "g CO2e": 600.0,
        "CHF": pytest.approx(0.45),
        "CHF for time": 1.0,
        "CHF in all": pytest.approx(1.45),
    }
    assert set(hours.costs(3.6e6)) == {"g CO2e", "CHF"}, "no time is known"
    assert Tariff(price_per_hour=0.0).costs(1.0, 7200.0) == {"EUR for time": 0.0}
    for bad in (-1e-9, math.inf, math.nan):
        with pytest.raises(ValueError, match="per hour must be 0 or more"):
            Tariff(price_per_hour=bad)
    for bad in (0.999, math.inf, math.nan):
        with pytest.raises(ValueError, match="PUE must be 1 or more"):
            Tariff(pue=bad)
    for bad in (-1e-9, math.inf, math.nan):
        with pytest.raises(ValueError, match="must be 0 or more"):
            emissions_g(1.0, bad)
        with pytest.raises(ValueError, match="must be 0 or more"):
            price(1.0, bad)


@pytest.mark.parametrize("ends", [(1.0, 1.0, 1.0), (2.0, 1.0, 3.0), (0.0, 0.0, 0.0)])
def test_a_range_encloses_its_value(ends):
    assert Range(*ends).value == ends[0]


@pytest.mark.parametrize(
    "ends", [(1.0, 1.01, 2.0), (2.0, 1.0, 1.99), (1.0, -0.01, 2.0), (1.0, 0.0, math.inf)]
)
def test_what_is_no_range_is_refused(ends):
    with pytest.raises(ValueError, match="low and high end"):
        Range(*ends)


def test_days_to_break_even_at_the_ends_of_ranges():
    """36 kJ an image less on a grid of 500 g/kWh and 100 images a day are 500 g a day."""
    old, new = Range(72e3, 54e3, 108e3), Range(36e3, 18e3, 45e3)
    found = break_even(Range(50.0, 40.0, 60.0), 100.0, old, new, 500.0)
    assert found.saved_g_per_day == pytest.approx(500.0)
    assert found.days == pytest.approx(100.0)
    assert found.soonest == pytest.approx(40e3 / 1250)
    assert found.latest == pytest.approx(60e3 / 125)
    for rate in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="images per day"):
            break_even(Range(1, 1, 1), rate, old, new, 500.0)
    unused = break_even(Range(1, 1, 1), 0.0, old, new, 500.0)
    assert (unused.days, unused.soonest, unused.latest) == (None, None, None)


def test_idling_by_hand():
    fast, slow = point("350 W", 2000.0, 6.0, 3.0), point("200 W", 1800.0, 10.0, 4.0)
    assert fast.power_w == pytest.approx(2000 / 6)
    assert energy_with_idle(fast, 10.0, 30.0) == 2000 + 4 * 30
    assert energy_with_idle(slow, 10.0, 30.0) == 1800.0
    assert energy_with_idle(slow, 9.99, 30.0) is None
    assert energy_with_idle(slow, 10.0 * (1 - 0.9e-9), 30.0) == 1800.0, "missed by rounding alone"
    assert energy_with_idle(slow, 10.0 * (1 - 1.1e-9), 30.0) is None
    watts, half = idle_power_that_pays(fast, slow)
    assert (watts, half) == pytest.approx((-200 / 4, 5 / 4))
    for equal in (fast, point("x", 1.0, 5.9)):
        with pytest.raises(ValueError, match="is not slower"):
            idle_power_that_pays(fast, equal)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.999])
def test_a_period_leaves_the_fastest_card_its_share_of_idling(share):
    cards = [point("slow", 1.0, 10.0), point("fast", 1.0, 6.0)]
    assert period(cards, share) == pytest.approx(6.0 / (1 - share))
    for bad in (-0.001, 1.0):
        with pytest.raises(ValueError, match="idle share"):
            period(cards, bad)
    with pytest.raises(ValueError, match="idle share"):
        period([], share)


def test_scores_of_three_joules_by_hand():
    """Off by 10 %, 0 and 20 %; r² is that of logarithms, which spread by less than 1."""
    found = score([1.0, 1.5, 0.5], [1.1, 1.5, 0.4])
    assert found.mape == pytest.approx(0.1)
    logs = [math.log(joules) for joules in (1.0, 1.5, 0.5)]
    spread = sum((x - sum(logs) / 3) ** 2 for x in logs)
    assert spread < 1
    assert found.r2 == pytest.approx(1 - (math.log(1.1) ** 2 + math.log(0.8) ** 2) / spread)
