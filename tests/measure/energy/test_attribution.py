"""Energy of phases from slow ticks and from power samples, against a known truth."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.energy.attribution import Interval, integrate, share_ticks
from wattbench.records import CounterSample, PowerSample

from ...simulated_board import POLL_S, TICK_S, TRUTH, image


def test_phases_of_one_run_are_rough_and_its_whole_is_not():
    """40 images that meet the ticks at every point; pooling is what makes phases exact."""
    shares = []
    for seed in range(40):
        ticks, intervals = image(seed)
        joules = share_ticks(ticks, intervals, POLL_S / 2)
        shares.append([joules[0], sum(joules[1:-1]), joules[-1]])
    truth = np.array(list(TRUTH.values()))
    bias = np.mean(shares, axis=0) / truth - 1
    assert abs(bias[1]) < 0.01
    assert np.abs(bias).max() < 0.03
    wholes = np.sum(shares, axis=1)
    assert np.abs(wholes / truth.sum() - 1).max() < 0.005


def test_whole_is_the_counter_difference():
    """Where intervals fill the ticks exactly, their shares are exactly what was counted."""
    ticks = [CounterSample(0.0, 10.0), CounterSample(1.0, 40.0), CounterSample(2.0, 110.0)]
    shares = share_ticks(ticks, [Interval("a", 0.0, 0.7), Interval("b", 0.7, 2.0)], POLL_S)
    assert sum(shares) == pytest.approx(100.0)


def test_ticks_within_one_phase_stay_as_counted():
    ticks = [CounterSample(t, e) for t, e in [(0.0, 0.0), (1.0, 5.0), (2.0, 105.0), (3.0, 108.0)]]
    (share,) = share_ticks(ticks, [Interval("denoise", 1.0, 2.0)], POLL_S)
    assert share == pytest.approx(100.0)


def test_a_counter_that_stands_still_around_the_phases_is_no_zero():
    """It moved while the board rested, long before."""
    ticks = [CounterSample(i * TICK_S, 0.0 if i == 0 else 7.0) for i in range(12)]
    with pytest.raises(ValueError, match="did not advance"):
        share_ticks(ticks, [Interval("denoise", 0.55, 0.75)], POLL_S)


def test_phase_below_the_ticks_takes_the_mean_power_and_not_zero():
    ticks = [CounterSample(i * TICK_S, 20.0 * i) for i in range(11)]
    tiny, _ = share_ticks(ticks, [Interval("load", 0.2, 0.201), Interval("d", 0.201, 0.9)], POLL_S)
    assert tiny == pytest.approx(0.001 * 200.0, rel=0.05)


def test_what_went_on_long_before_tells_nothing_of_the_rest():
    """300 W until a second before, then 30 W; 60 ms at 150 W of which a tick has 40 ms of rest."""
    powers = [*[300.0] * 10, *[30.0] * 10, 0.4 * 30 + 0.6 * 150, *[300.0] * 9, 30.0, 30.0]
    energies = np.cumsum([0.0, *(power * TICK_S for power in powers)])
    ticks = [CounterSample(i * TICK_S, float(energy)) for i, energy in enumerate(energies)]
    intervals = [Interval("text_encode", 2.04, 2.10), Interval("denoise", 2.10, 3.0)]
    encode_j, denoise_j = share_ticks(ticks, intervals, POLL_S / 2)
    assert encode_j == pytest.approx(9.0, rel=0.02)
    assert denoise_j == pytest.approx(270.0, rel=0.001)


@given(st.lists(st.floats(-0.02, 0.02), min_size=9, max_size=9))
def test_no_phase_is_fitted_below_the_calmest_tick(errors_s):
    """Ticks that are timed badly around a short phase: 120 W at rest, 150 W in it, then 600 W."""
    powers = [120.0, 120.0, 0.4 * 120 + 0.6 * 150, *[600.0] * 5, 120.0]
    energies = np.cumsum([0.0, *(power * TICK_S for power in powers)])
    times = np.arange(10) * TICK_S + [0.0, *errors_s]
    ticks = [CounterSample(t, e) for t, e in zip(times, energies, strict=True)]
    intervals = [Interval("text_encode", 0.24, 0.30), Interval("denoise", 0.30, 0.78)]
    calmest_w = min((b.energy_j - a.energy_j) / (b.t_s - a.t_s) for a, b in pairwise(ticks))
    encode_j, denoise_j = share_ticks(ticks, intervals, 0.01)
    assert encode_j > 0.5 * calmest_w * 0.06
    assert denoise_j > encode_j


@pytest.mark.parametrize(
    ("ticks", "message"),
    [
        ([CounterSample(0.0, 5.0)], "did not advance"),
        ([CounterSample(0.0, 5.0), CounterSample(9.0, 1.0)], "backwards"),
        ([CounterSample(2.0, 5.0), CounterSample(9.0, 8.0)], "do not reach"),
        ([CounterSample(0.0, 5.0), CounterSample(2.0, 8.0)], "do not reach"),
    ],
)
def test_faults_of_the_counter_are_refused(ticks, message):
    with pytest.raises(ValueError, match=message):
        share_ticks(ticks, [Interval("denoise", 1.0, 3.0)], POLL_S)


def test_constant_power_held_between_samples():
    """A trapezoid over de-duplicated samples would give 0 J here."""
    assert integrate([PowerSample(0.0, 200.0)], 1.0, 3.0) == pytest.approx(400.0)


def test_step_of_power():
    samples = [PowerSample(0.0, 100.0), PowerSample(2.0, 300.0)]
    assert integrate(samples, 1.0, 3.0) == pytest.approx(400.0)


def test_power_that_begins_too_late_is_refused():
    with pytest.raises(ValueError, match="reaches back"):
        integrate([PowerSample(1.5, 100.0)], 1.0, 2.0)


powers = st.lists(st.floats(0, 600), min_size=1, max_size=30)


@given(powers, st.floats(0, 1), st.floats(0, 1))
def test_integral_is_additive(levels, first, second):
    samples = [PowerSample(index * 0.1, level) for index, level in enumerate(levels)]
    cut, end = sorted((first, second))
    whole = integrate(samples, 0.0, end)
    parts = integrate(samples, 0.0, cut) + integrate(samples, cut, end)
    assert whole == pytest.approx(parts, abs=1e-6)


@given(
    st.lists(st.floats(0.5, 60), min_size=3, max_size=40),
    st.lists(st.floats(0.01, 1), min_size=1, max_size=6),
)
def test_shares_are_never_negative_and_never_more_than_was_counted(energies, lengths):
    ticks = [CounterSample(0.0, 0.0)]
    for index, energy in enumerate(energies, 1):
        ticks.append(CounterSample(index * TICK_S, ticks[-1].energy_j + energy))
    span = ticks[-1].t_s
    borders = np.cumsum([0.0, *lengths]) / sum(lengths) * span
    intervals = [
        Interval(f"phase {i}", float(a), float(b)) for i, (a, b) in enumerate(pairwise(borders))
    ]
    intervals[-1] = Interval("last", intervals[-1].start_s, span)
    shares = share_ticks(ticks, intervals, POLL_S)
    assert min(shares) >= 0
    assert sum(shares) == pytest.approx(sum(energies), rel=1e-6)
