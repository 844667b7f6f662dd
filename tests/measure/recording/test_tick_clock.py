"""What reads leave of the phase and period of an even rhythm."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.recording.tick_clock import TickClock

PERIOD_S = 0.1
POLL_S = 0.005


def tick(number):
    return 5.0 + PERIOD_S * number


def seen(number, late_s=0.0, rng=random):
    """Between two reads, the second of which is late, a tick came."""
    before_s = tick(number) - rng.uniform(0, POLL_S)
    return before_s, before_s + POLL_S + late_s


@pytest.fixture
def clock():
    """Two ticks that were looked for, and twenty of which one side was."""
    rng = random.Random(1)
    clock = TickClock(seen(0, rng=rng), seen(1, rng=rng))
    for number in range(2, 22):
        middle_s = sum(clock.bounds(number)) / 2
        is_after = middle_s > tick(number)
        assert clock.narrow(number, **{"before_s" if is_after else "after_s": middle_s})
    return clock


def test_two_ticks_bound_the_next_one():
    clock = TickClock((4.998, 5.003), (5.099, 5.104))
    assert clock.bounds(0) == pytest.approx((4.998, 5.003), abs=1e-5)
    assert clock.bounds(1) == pytest.approx((5.099, 5.104), abs=1e-5)
    assert clock.bounds(2) == pytest.approx((5.099 + 0.096, 5.104 + 0.106), abs=1e-5)


def test_one_bit_a_tick_finds_the_rhythm(clock):
    """Twenty reads, each of which says only whether the tick had come."""
    assert clock.period_s == pytest.approx(PERIOD_S, abs=1e-5)
    for number in range(22):
        time_s, error_s = clock.time(number)
        assert abs(time_s - tick(number)) <= error_s < 2e-4


@given(
    period_s=st.floats(0.01, 1.0),
    late_s=st.lists(st.floats(0, 0.02), min_size=3, max_size=30),
    seed=st.integers(0, 2**32),
)
def test_late_reads_never_exclude_the_truth(period_s, late_s, seed):
    """Reads are late by any amount: bounds hold every tick, and narrow only."""
    rng = random.Random(seed)

    def read(number):
        before_s = number * period_s - rng.uniform(0, POLL_S)
        return before_s, before_s + POLL_S + late_s[number]

    clock = TickClock(read(0), read(1))
    widths = []
    for number in range(2, len(late_s)):
        assert clock.narrow(number, *read(number))
        for other in range(number + 1):
            early_s, late = clock.bounds(other)
            assert early_s - 1e-9 <= other * period_s <= late + 1e-9
        widths.append(clock.time(0)[1])
    assert widths == pytest.approx(sorted(widths, reverse=True), abs=1e-9)


def test_doubt_grows_while_nobody_looks(clock):
    """Ten minutes on, clocks may have drifted by 6 ms."""
    error_s = clock.time(22)[1]
    assert 0.006 < clock.time(22 + 6000)[1] - error_s < 0.1


def test_which_tick_a_read_shows(clock):
    """Where a tick may have come before a read or after it, both are named."""
    assert clock.seen_by(6.05, 6.06) == (10, 10)
    assert clock.seen_by(5.95, 6.05) == (9, 10)
    assert clock.seen_by(tick(11), tick(11)) == (10, 11)
    early_s, late_s = clock.bounds(600)
    assert clock.seen_by(early_s - 1e-9, early_s - 1e-9) == (599, 599)
    assert clock.seen_by(late_s + 1e-9, late_s + 1e-9) == (600, 600)


def test_what_cannot_be_is_refused_and_changes_nothing(clock):
    bounds = clock.bounds(30)
    assert not clock.narrow(22, after_s=tick(22) + 0.004)
    assert not clock.narrow(22, before_s=tick(22) - 0.004)
    assert clock.bounds(30) == bounds


def test_a_loosened_rhythm_takes_a_tick_that_was_off(clock):
    late_s = tick(22) + 0.004
    clock.loosen(22, late_s - clock.bounds(22)[1])
    assert clock.narrow(22, after_s=late_s)
    early_s, latest_s = clock.bounds(23)
    assert early_s < tick(23) < tick(23) + 0.004 < latest_s
    assert latest_s - early_s < 0.03
