"""What a rhythm allows: between which moments each tick can lie, worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.recording.tick_clock import DRIFT, LEAST_SLACK_S, TickClock


def clock_of(first_s, period_s, width_s=1e-3):
    """Ticks 0 and 1 are known within ``width_s``."""
    return TickClock(
        (first_s, first_s + width_s), (first_s + period_s, first_s + period_s + width_s)
    )


def test_two_ticks_say_how_far_ahead_others_lie():
    """The shortest period that two spans of 1 ms allow is 0.099 s, the longest 0.101 s."""
    clock = clock_of(5.0, 0.1)
    assert clock.bounds(0) == pytest.approx((5.0, 5.001))
    assert clock.bounds(1) == pytest.approx((5.1, 5.101))
    assert clock.period_s == pytest.approx(0.1)
    # Tick 0 at its latest and tick 1 at its earliest, and the other way round.
    assert clock.bounds(11)[0] == pytest.approx(5.1 + 10 * 0.099, abs=2e-5)
    assert clock.bounds(11)[1] == pytest.approx(5.101 + 10 * 0.101, abs=2e-5)
    early_s, late_s = clock.bounds(11)
    assert clock.time(11) == pytest.approx(((early_s + late_s) / 2, (late_s - early_s) / 2))


def test_time_unwatched_adds_a_drift():
    """A hundred-thousandth of the time since the last tick that was seen, on both sides."""
    clock = clock_of(0.0, 1.0, 0.0)
    early_s, late_s = clock.bounds(1001)
    assert early_s == pytest.approx(1001 - 1000 * DRIFT)
    assert late_s == pytest.approx(1001 + 1000 * DRIFT)
    assert clock.narrow(1001, 1001 - 0.005, 1001 + 0.005)
    early_s, late_s = clock.bounds(1001)
    assert late_s - early_s < 1e-9, "once it is seen, nothing of the drift is left"
    assert clock.bounds(500)[1] == pytest.approx(500), "nor of ticks before it"


@given(st.floats(0.01, 5.0), st.floats(-100.0, 100.0), st.integers(2, 60), st.floats(0, 0.999))
def test_a_read_shows_the_ticks_that_had_come(period_s, first_s, count, part):
    """For sure those whose latest moment was before it, perhaps those whose earliest was."""
    clock = clock_of(first_s, period_s, period_s / 1000)
    read_s = first_s + (count + part) * period_s
    came, may_have_come = clock.seen_by(read_s, read_s)
    assert clock.bounds(came)[1] < read_s <= clock.bounds(came + 1)[1]
    assert clock.bounds(may_have_come)[0] <= read_s < clock.bounds(may_have_come + 1)[0]
    assert came <= count <= may_have_come + 1


def test_a_read_that_took_long_may_show_more():
    clock = clock_of(0.0, 1.0, 0.0)
    assert clock.seen_by(4.5, 4.6) == (4, 4)
    assert clock.seen_by(3.5, 4.6) == (3, 4)
    assert clock.seen_by(0.5, 4.6) == (0, 4)


@pytest.mark.parametrize(
    ("after_s", "before_s", "fits"),
    [
        (5.0, 5.001, True),
        (5.0009, 9.0, True),
        (5.0011, 9.0, False),
        (0.0, 5.0001, True),
        (0.0, 4.9999, False),
    ],
)
def test_a_tick_is_where_the_rhythm_lets_it_or_nothing_is_learnt(after_s, before_s, fits):
    clock = clock_of(5.0, 0.1)
    known = clock.bounds(0), clock.bounds(1)
    assert clock.narrow(0, after_s, before_s) == fits
    if fits:
        early_s, late_s = clock.bounds(0)
        assert (early_s, late_s) == pytest.approx((max(5.0, after_s), min(5.001, before_s)))
    else:
        assert (clock.bounds(0), clock.bounds(1)) == known


def test_a_tick_outside_of_its_bounds_loosens_all_later_ones():
    """2 ms off at tick 5: slack on both sides of it, and a period that may have bent since."""
    clock = clock_of(0.0, 1.0, 0.0)
    clock.narrow(5, 5.0, 5.0)
    clock.loosen(5, 0.002)
    assert clock.slack_s == 0.002
    assert clock.bounds(5) == pytest.approx((5 - 0.004, 5 + 0.004))
    bend_s = 0.002 / 5
    assert clock.bounds(15) == pytest.approx(
        (15 - 0.004 - 10 * bend_s, 15 + 0.004 + 10 * bend_s), abs=3e-4
    )
    assert clock.narrow(5, 5.003, 5.0035), "it is allowed now"
    clock.loosen(6, 0.003)
    assert clock.slack_s == 0.004, "twice as loose each time, or by as much as it was off"
    clock.loosen(7, 0.1)
    assert clock.slack_s == 0.1


def test_ticks_that_come_when_they_have_to_tighten_it_again():
    clock = clock_of(0.0, 1.0, 0.0)
    clock.slack_s = 4 * LEAST_SLACK_S
    clock.tighten()
    assert clock.slack_s == 2 * LEAST_SLACK_S
    clock.tighten()
    assert clock.slack_s == LEAST_SLACK_S
    clock.tighten()
    assert clock.slack_s == 0.0
