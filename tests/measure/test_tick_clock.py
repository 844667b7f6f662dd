"""An even rhythm is learnt, followed, and given up when a tick is off."""

import random

import pytest

from wattbench.measure.tick_clock import LEAST_TICKS, TickClock

HALF_S = 0.003


def seen(true_s, rng):
    """The middle of two polls 6 ms apart, between which the tick lay."""
    return true_s + rng.uniform(-HALF_S, HALF_S)


@pytest.fixture
def clock():
    rng = random.Random(1)
    clock = TickClock()
    for number in range(30):
        clock.observe(seen(5.0 + 0.1 * number, rng), HALF_S)
    return clock


def test_rhythm_is_found_more_exactly_than_any_tick(clock):
    assert clock.is_known
    assert clock.period_s == pytest.approx(0.1, abs=1e-4)
    assert clock.error_s < HALF_S
    assert clock.nearest(8.04) == pytest.approx(8.0, abs=0.001)
    assert clock.last_before(8.09) == pytest.approx(8.0, abs=0.001)
    assert clock.last_before(7.99) == pytest.approx(7.9, abs=0.001)


def test_a_few_ticks_are_not_believed():
    clock = TickClock()
    for number in range(LEAST_TICKS - 1):
        clock.observe(0.1 * number, HALF_S)
    assert not clock.is_known


def test_ticks_that_were_not_looked_for_are_counted(clock):
    """After a pause of 20 ticks the rhythm still holds, and becomes more exact."""
    for number in range(50, 200, 20):
        clock.observe(5.0 + 0.1 * number, HALF_S)
    assert clock.period_s == pytest.approx(0.1, abs=1e-5)


def test_a_tick_that_is_off_ends_it(clock):
    clock.observe(8.05, HALF_S)
    assert not clock.is_known


def test_uneven_ticks_are_never_believed():
    rng, clock, tick_s = random.Random(3), TickClock(), 0.0
    for _ in range(200):
        tick_s += 0.1 * rng.uniform(0.85, 1.15)
        clock.observe(tick_s, HALF_S)
        assert not clock.is_known
