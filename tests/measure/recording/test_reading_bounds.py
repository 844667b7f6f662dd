"""What a reading is called and noted for, from just inside and just outside of each bound."""

import pytest

from wattbench.measure.energy.attribution import Interval
from wattbench.measure.recording.readings import (
    disagreement,
    read_energies,
    refresh_period,
    tick_error,
)
from wattbench.measure.recording.samples import Samples, TickError, around
from wattbench.records import CounterSample, PowerSample

from ...simulated_board import ScriptedMeter

TICK_S = 0.125
"""A binary fraction, so that a bound is met to the last bit."""

METER = ScriptedMeter(None, [])
POWER_W = 100.0


def ticks(until_s):
    return [
        CounterSample(n * TICK_S, POWER_W * n * TICK_S) for n in range(int(until_s / TICK_S) + 1)
    ]


@pytest.mark.parametrize(
    ("tick_count", "method"),
    [(49.99, "attributed"), (50, "counter"), (50.01, "counter"), (5.5, "attributed")],
)
def test_a_span_of_fifty_ticks_is_counted_and_a_shorter_one_attributed(tick_count, method):
    samples = Samples(counter=ticks(16.0))
    intervals = [Interval("denoise", 1.0, 1.0 + tick_count * TICK_S)]
    (reading,), note = read_energies(METER, samples, intervals)
    assert (reading.method, note) == (method, "")
    assert reading.energy_j == pytest.approx(POWER_W * tick_count * TICK_S)
    assert reading.duration_s == tick_count * TICK_S
    assert reading.resolution_j == POWER_W * TICK_S


def test_each_phase_is_called_by_its_own_length():
    borders = [1.0, 1.0 + 49.9 * TICK_S, 1.0 + 100 * TICK_S]
    intervals = [Interval(str(i), *borders[i : i + 2]) for i in range(2)]
    readings, _ = read_energies(METER, Samples(counter=ticks(16.0)), intervals)
    assert [reading.method for reading in readings] == ["attributed", "counter"]


@pytest.mark.parametrize(
    ("power_w", "note"),
    [
        (104.9, ""),
        (105.1, "integrated power differs from the counter by +5.1 %"),
        (95.1, ""),
        (94.9, "integrated power differs from the counter by -5.1 %"),
    ],
)
def test_a_disagreement_of_five_percent_is_noted(power_w, note):
    power = [PowerSample(n / 64, power_w) for n in range(10 * 64)]
    assert disagreement(ticks(8.0), power) == note


@pytest.mark.parametrize(("lag_s", "is_noted"), [(0.24, False), (0.27, True)])
def test_a_sensor_may_lag_by_its_refresh_and_by_a_read(lag_s, is_noted):
    """Refreshed every 7/32 s and read every 1/32 s: by a quarter of a second, and no more.

    At rest 100 W, and 1000 W in the last second, of which so much is not seen in time.
    """

    def seen_w(t_s):
        flicker = 1e-3 * (int(t_s * 32 / 7) % 2)
        return (1000.0 if t_s >= 7.0 + lag_s else 100.0) + flicker

    counter = [CounterSample(t, 100.0 * t + 900.0 * max(0.0, t - 7.0)) for t in (0.0, 7.0, 8.0)]
    power = [PowerSample(n / 32, seen_w(n / 32)) for n in range(32 * 8 + 1)]
    counted_j = counter[-1].energy_j
    slack_j = 0.05 * counted_j
    late = [CounterSample(t, e + (t == 8.0) * slack_j / 0.95) for t, e in counter]
    assert bool(disagreement(late, power)) == is_noted


def test_nothing_is_compared_that_was_not_seen_from_the_start():
    power = [PowerSample(n / 64, 10.0) for n in range(10 * 64)]
    counter = ticks(8.0)
    assert disagreement(counter, power) != ""
    assert disagreement(counter, power[1:]) == ""
    assert disagreement(counter, power[:1]) == ""


def test_how_often_a_sensor_is_refreshed():
    levels = [1, 1, 2, 2, 2, 3, 3, 4]
    power = [PowerSample(n * 0.5, float(level)) for n, level in enumerate(levels)]
    # It changes at 1.0, 2.5 and 3.5 s.
    assert refresh_period(power) == 1.25
    assert refresh_period(power[:3]) == 0.0
    assert refresh_period(power[:6]) == 1.5
    assert refresh_period([]) == 0.0


def test_the_error_of_ticks_is_the_mean_of_those_around():
    """One before the span and one after it take part; those further off do not."""
    samples = Samples(tick_errors=[TickError(float(t), 10.0**t) for t in range(6)])
    assert tick_error(samples, METER, 1.5, 3.5) == (10 + 100 + 1000 + 10000) / 4
    assert tick_error(samples, METER, 2.0, 3.0) == (100 + 1000) / 2
    assert tick_error(Samples(), METER, 2.0, 3.0) == METER.poll_period_s


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((1.0, 3.0), [1, 2, 3]),
        ((0.9, 3.1), [0, 1, 2, 3, 4]),
        ((1.5, 1.6), [1, 2]),
        ((-1.0, 0.0), [0]),
        ((-2.0, -1.0), [0]),
        ((5.0, 9.0), [5]),
        ((7.0, 9.0), [5]),
        ((0.0, 5.0), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_samples_around_a_span_have_one_on_each_side(span, expected):
    samples = [PowerSample(float(t), 0.0) for t in range(6)]
    assert [sample.t_s for sample in around(samples, *span)] == expected


def test_what_a_computed_counter_gains_is_not_its_resolution():
    """Such a meter knows its own step; of the others a tick is the step."""

    class Computed(ScriptedMeter):
        is_computed, energy_resolution_j = True, 0.25

    intervals = [Interval("denoise", 1.0, 2.0)]
    for meter, resolution_j in ((Computed(None, []), 0.25), (METER, POWER_W * TICK_S)):
        (reading,), _ = read_energies(meter, Samples(counter=ticks(4.0)), intervals)
        assert reading.resolution_j == resolution_j


@pytest.mark.parametrize(("count", "is_said"), [(14, False), (15, True)])
def test_few_power_samples_say_nothing_of_a_disagreement(count, is_said):
    """A run of two seconds with six of them was once said to be 40 % off."""
    counter = [CounterSample(0.0, 0.0), CounterSample(1.0, 1.0)]
    power = [PowerSample(i / (count - 1), 50.0) for i in range(count)]
    said = "integrated power differs from the counter by +4900.0 %"
    assert disagreement(counter, power) == (said if is_said else "")
