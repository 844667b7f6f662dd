"""Counters that wrap, reset and run backwards: no fault may become 0 J, nor any number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.meters import MeterReadError
from wattbench.measure.meters.counter import MonotonicCounter, WrappingCounter

RANGE_J = 262143.328850
LIMIT_W = 10_000.0
rises = st.lists(st.floats(0, 250), min_size=1, max_size=60)


@given(start_j=st.floats(0, RANGE_J), rises=st.lists(st.floats(0, 900), min_size=1, max_size=60))
def test_wraps_are_invisible(start_j, rises):
    counter = WrappingCounter("package", RANGE_J, LIMIT_W)
    assert counter.advance(start_j, 0.0) == 0
    drawn_j = 0.0
    for step, rise_j in enumerate(rises, 1):
        drawn_j += rise_j
        total_j = counter.advance((start_j + drawn_j) % RANGE_J, step * 0.01)
        assert total_j == pytest.approx(drawn_j, abs=1e-4)


@given(last_j=st.floats(5000, RANGE_J - 5000), fall=st.floats(0.0, 0.99), later=rises)
def test_a_reset_is_an_error_and_stays_one(last_j, fall, later):
    counter = WrappingCounter("package", RANGE_J, LIMIT_W)
    counter.advance(last_j, 0.0)
    with pytest.raises(MeterReadError, match="a reset"):
        counter.advance(last_j * fall, 0.01)
    for step, rise_j in enumerate(later, 1):
        with pytest.raises(MeterReadError):
            counter.advance(last_j + rise_j, 0.01 + step)


@pytest.mark.parametrize("raw_j", [-1.0, RANGE_J + 1, float("nan")])
def test_a_value_outside_the_range_is_an_error(raw_j):
    counter = WrappingCounter("package", RANGE_J, LIMIT_W)
    with pytest.raises(MeterReadError, match="outside its range"):
        counter.advance(raw_j, 0.0)


@given(start_j=st.floats(0, 1e9), rises=rises)
def test_a_rising_counter_passes_unchanged(start_j, rises):
    counter = MonotonicCounter("board")
    energy_j = start_j
    for rise_j in rises:
        energy_j += rise_j
        assert counter.advance(energy_j) == energy_j


@given(high_j=st.floats(1, 1e9), fall=st.floats(0, 0.999), later=rises)
def test_a_falling_counter_is_an_error_and_stays_one(high_j, fall, later):
    counter = MonotonicCounter("board")
    counter.advance(high_j)
    with pytest.raises(MeterReadError, match="ran backwards"):
        counter.advance(high_j * fall)
    for rise_j in later:
        with pytest.raises(MeterReadError):
            counter.advance(high_j + rise_j)
