"""When a new card pays, and when it never does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.law.breakeven import Range, break_even


def exactly(value):
    return Range(value, value, value)


def test_days_by_hand():
    """36 kJ is 0.01 kWh: 1000 images a day save 10 kWh, at 300 g 3 kg; 90 kg take 30 days."""
    result = break_even(exactly(90.0), 1000, exactly(72_000.0), exactly(36_000.0), 300.0)
    assert result.saved_g_per_day == pytest.approx(3000)
    assert (result.days, result.soonest, result.latest) == (pytest.approx(30.0),) * 3


def test_ranges_give_bounds():
    embodied, old, new = Range(90.0, 60.0, 120.0), Range(72e3, 60e3, 84e3), Range(36e3, 30e3, 60e3)
    result = break_even(embodied, 1000, old, new, 300.0)
    assert result.soonest == pytest.approx(60 / 4.5)
    assert result.days == pytest.approx(30.0)
    assert result.latest is None


@pytest.mark.parametrize(
    ("images", "new_j", "grid"), [(0, 100.0, 300.0), (10, 300.0, 300.0), (10, 100.0, 0.0)]
)
def test_it_never_pays_where_nothing_is_saved(images, new_j, grid):
    result = break_even(exactly(90.0), images, exactly(200.0), exactly(new_j), grid)
    assert (result.days, result.soonest, result.latest) == (None, None, None)


@given(st.floats(1, 1e4), st.floats(1, 1e6), st.floats(1, 1e4))
def test_twice_the_images_pay_in_half_the_time(embodied, images, grid):
    cards = exactly(2000.0), exactly(1000.0)
    one = break_even(exactly(embodied), images, *cards, grid)
    two = break_even(exactly(embodied), 2 * images, *cards, grid)
    assert two.days == pytest.approx(one.days / 2)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="images per day"):
        break_even(exactly(1.0), -1, exactly(1.0), exactly(1.0), 1.0)
    with pytest.raises(ValueError, match="grid intensity"):
        break_even(exactly(1.0), 1, exactly(1.0), exactly(1.0), -1.0)
    for ends in ((1.0, 2.0, 3.0), (1.0, -1.0, 3.0), (1.0, 0.0, float("inf"))):
        with pytest.raises(ValueError, match="low and high end"):
            Range(*ends)
