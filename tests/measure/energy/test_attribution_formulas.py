"""Attribution against its formulas: the prior, the least powers, and what is refused."""

from array import array
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.energy.attribution import (
    LEAST_ERROR_S,
    LEAST_POWER,
    Interval,
    integrate,
    share_ticks,
    solve_powers,
    tabulate,
    tabulate_runs,
)
from wattbench.measure.recording.packed import Packed
from wattbench.records import CounterSample, PowerSample

from ...simulated_board import RampedBoard

RUN = [Interval("denoise", 1.25, 2.75)]


def counted(*energies_j):
    return [CounterSample(float(t), e) for t, e in enumerate(energies_j)]


@pytest.mark.parametrize("error_s", [0.0, 0.9e-5, 1e-5, 1.1e-5, 0.05, 1.0])
def test_one_power_between_the_ticks_and_the_mean(error_s):
    """By hand: (gram * measured + prior * mean) / (gram + prior), and never below the least."""
    gram, measured_w, mean_w, least_w = 1e-8, 300.0, 100.0, 30.0
    prior = max(error_s, LEAST_ERROR_S) ** 2
    expected = (gram * measured_w + prior * mean_w) / (gram + prior)
    matrix, moment = np.array([[gram]]), np.array([gram * measured_w])
    assert solve_powers(matrix, moment, mean_w, least_w, error_s) == pytest.approx([expected])
    assert solve_powers(matrix, moment, mean_w, 400.0, error_s) == pytest.approx([400.0])
    assert solve_powers(matrix, moment, mean_w, 0.0, error_s) == pytest.approx([expected])


def test_no_power_is_nothing():
    """A phase that gained nothing has a billionth of the mean, so that shares have no 0/0."""
    matrix = np.eye(2)
    powers = solve_powers(matrix, np.array([100.0, -5.0]), 50.0, 0.0, 0.0)
    assert powers == pytest.approx([100.0, 50.0 * LEAST_POWER])


@given(st.integers(0, 10**6))
def test_powers_are_the_bounded_least_squares(seed):
    """Against scipy's solver of the same problem, also where the free solution is negative."""
    from scipy.optimize import lsq_linear

    random = np.random.default_rng(seed)
    seconds, energy = random.random((6, 3)), 100 * random.random(6) - 10
    mean_w, least_w, error_s = 40.0, 5.0, 0.02
    rows = np.vstack([seconds, error_s * np.eye(3)])
    right = np.concatenate([energy, np.full(3, error_s * mean_w)])
    expected = lsq_linear(rows, right, (least_w, np.inf), method="bvls").x
    powers = solve_powers(seconds.T @ seconds, seconds.T @ energy, mean_w, least_w, error_s)
    assert powers == pytest.approx(expected, rel=1e-6)


def test_the_mean_power_is_what_a_phase_without_ticks_takes():
    """10 µs under a tick error of 0.1 s: nothing but the prior tells its power."""
    ticks = [CounterSample(0.5 * n, 37.5 * n) for n in range(9)]
    intervals = [Interval("load", 1.0, 1.00001), Interval("denoise", 1.00001, 2.75)]
    tiny, long = share_ticks(ticks, intervals, 0.1)
    assert tiny == pytest.approx(75.0 * 1e-5, rel=1e-3)
    assert long == pytest.approx(75.0 * 1.74999, rel=1e-3)


@pytest.mark.parametrize(
    "energies_j",
    [(5.0, 6.0, 6.0, 6.0), (5.0, 5.0, 5.0, 6.0), (5.0, 5.0, 6.0, 6.0)],
    ids=["first", "last", "middle"],
)
def test_a_counter_that_advanced_in_one_tick_is_not_called_frozen(energies_j):
    assert tabulate(counted(*energies_j), RUN).energy_j.sum() == 1.0


def test_what_a_counter_cannot_be():
    for energies_j, reason in (
        ((5.0, 5.0, 5.0, 5.0), "did not advance"),
        ((5.0,), "did not advance"),
        ((5.0, 6.0, 5.999, 7.0), "ran backwards"),
    ):
        with pytest.raises(ValueError, match=reason):
            tabulate(counted(*energies_j), RUN)
    twice = [*counted(1.0, 2.0), CounterSample(1.0, 3.0), CounterSample(3.0, 4.0)]
    with pytest.raises(ValueError, match="not in order of time"):
        tabulate(twice, RUN)


@pytest.mark.parametrize(("first_s", "last_s"), [(1.25, 2.75), (1.2, 2.8)])
def test_ticks_may_begin_and_end_with_the_intervals(first_s, last_s):
    ticks = [CounterSample(t, 10 * t) for t in (first_s, 2.0, last_s)]
    table = tabulate(ticks, RUN)
    names = list(dict.fromkeys(interval.name for interval in RUN))
    seconds = table.segments.by_tick(table.response(names, np.zeros(1))[0])
    assert seconds[:, :-1].sum() == pytest.approx(1.5)


@pytest.mark.parametrize(("first_s", "last_s"), [(1.2501, 2.75), (1.25, 2.7499)])
def test_ticks_that_do_not_reach_around_are_refused(first_s, last_s):
    with pytest.raises(ValueError, match="do not reach around"):
        tabulate([CounterSample(t, 10 * t) for t in (first_s, 2.0, last_s)], RUN)


@given(
    st.lists(st.tuples(st.floats(0.01, 2.0), st.floats(0.0, 500.0)), min_size=1, max_size=8),
    st.floats(0.0, 3.0),
    st.floats(0.0, 4.0),
)
def test_power_holds_until_the_next_sample(steps, from_s, seconds):
    """The last sample holds to the end, whatever time passes after it."""
    times = np.cumsum([0.0, *(length for length, _ in steps[:-1])])
    samples = [PowerSample(float(t), w) for t, (_, w) in zip(times, steps, strict=True)]
    until_s = from_s + seconds
    borders = sorted({from_s, until_s, *(t for t in times if from_s < t < until_s)})
    expected = sum(
        (b - a) * next(s.power_w for s in reversed(samples) if s.t_s <= a)
        for a, b in pairwise(borders)
    )
    assert integrate(samples, from_s, until_s) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("start_s", "end_s", "first_s", "last_s"),
    [
        (2.0, 5.0, 1.0, 6.0),
        (1.999, 5.0, 0.0, 6.0),
        (2.0, 5.001, 1.0, 7.0),
        (0.0, 9.0, 0.0, 9.0),
    ],
)
def test_of_the_ticks_around_a_run_one_each_is_kept(start_s, end_s, first_s, last_s):
    """One whole tick before the one that the run begins in, or at; one after the one it ends in."""
    table = tabulate(counted(*(t * t for t in range(10))), [Interval("denoise", start_s, end_s)])
    assert table.duration_s.sum() == pytest.approx(last_s - first_s)
    assert table.energy_j.sum() == pytest.approx(last_s**2 - first_s**2)


def test_many_runs_at_once_are_as_each_alone():
    """As many ticks in each; faults of one are no others', and each lies over its own intervals."""
    squares = [t * t for t in range(10)]
    backwards, unordered = counted(*squares), counted(*squares)
    backwards[4] = CounterSample(4.0, 30.0)
    unordered[4] = CounterSample(2.5, 16.0)
    ticks = [counted(*squares), backwards, counted(*squares), unordered, counted(*squares)]
    # Of the third and the first the kept ticks are as long together, but not as many.
    spans = np.array([[2.5, 5.5], [2.5, 5.5], [3.5, 4.5], [2.5, 5.5], [2.5, 9.5]])
    found = tabulate_runs(ticks, ("denoise",), spans[:, :1], spans[:, 1:])
    refused = {
        1: "the energy counter ran backwards (reset or wrapped) during the run",
        3: "the energy counter's ticks are not in order of time",
        4: "the energy counter's ticks do not reach around the run",
    }
    assert {place: one for place, one in enumerate(found) if isinstance(one, str)} == refused
    for place in (0, 2):
        alone = tabulate(ticks[place], [Interval("denoise", *spans[place])])
        assert np.array_equal(found[place].energy_j, alone.energy_j)
        assert np.array_equal(found[place].duration_s, alone.duration_s)
    assert [len(found[place].energy_j) for place in (0, 2)] == [6, 4]


def test_a_run_that_begins_late_or_ends_early_is_no_others_fault():
    early, late = counted(*range(6)), [CounterSample(t + 10.0, float(t)) for t in range(6)]
    spans = np.array([[1.5, 3.5], [11.5, 13.5]])
    found = tabulate_runs([early, late], ("denoise",), spans[:, :1], spans[:, 1:])
    assert [one.energy_j.tolist() for one in found] == [[1.0] * 5] * 2


def test_packed_ticks_are_laid_as_plain_ones_are():
    plain = counted(0.0, 3.0, 7.0, 12.0, 18.0)
    numbers = array("d", (number for tick in plain for number in tick))
    packed = tabulate(Packed(CounterSample, numbers), RUN)
    assert np.array_equal(packed.energy_j, tabulate(plain, RUN).energy_j)
    assert packed.energy_j.tolist() == [3.0, 4.0, 5.0, 6.0]


def test_an_interval_of_no_length_has_a_share_of_nothing():
    ticks = [CounterSample(0.5 * n, 37.5 * n) for n in range(9)]
    intervals = [Interval("denoise", 1.0, 2.75), Interval("decode", 2.75, 2.75)]
    assert share_ticks(ticks, intervals, 0.01) == pytest.approx([75.0 * 1.75, 0.0])


def lagging(period_s):
    """Ticks of a board that follows with 55 ms, around 0.3 s of denoising; its joules in these."""
    board, run = RampedBoard([(1.03, 1.33, 300.0)], 0.055), [Interval("denoise", 1.03, 1.33)]
    times = [0.95 + period_s * n for n in range(-1, 11)]
    ticks = [CounterSample(t, board.energy_j(t)) for t in times]
    return ticks, run, board.energy_j(1.33) - board.energy_j(1.03)


@pytest.mark.parametrize(("period_s", "kept_count"), [(0.1, 6), (0.15, 5), (0.2, 4)])
def test_a_single_run_tells_how_its_board_lags(period_s, kept_count):
    """Four ticks are the fewest: two levels, the time constant, and one more to tell by."""
    ticks, run, true_j = lagging(period_s)
    assert len(tabulate(ticks, run).energy_j) == kept_count
    [as_told] = share_ticks(ticks, run, 1e-4, 0.055)
    assert share_ticks(ticks, run, 1e-4) == pytest.approx([true_j], rel=1e-4)
    assert as_told == pytest.approx(true_j, rel=1e-4)
    assert share_ticks(ticks, run, 1e-4, 0.0) != pytest.approx([true_j], rel=0.01)


def test_three_ticks_are_too_few_to_tell_it():
    ticks, run, _ = lagging(0.45)
    assert len(tabulate(ticks, run).energy_j) == 3
    assert share_ticks(ticks, run, 1e-4) == share_ticks(ticks, run, 1e-4, 0.0)
    assert share_ticks(ticks, run, 1e-4) != pytest.approx(
        share_ticks(ticks, run, 1e-4, 0.055), rel=0.01
    )
