"""From the counter of a simulated board through the real sampler to the energy of phases."""

import random

import numpy as np
import pytest

from wattbench.measure.energy.attribution import Interval
from wattbench.measure.energy.pooling import TickedRun, pool
from wattbench.measure.recording.readings import read_energies, tick_error
from wattbench.measure.recording.samples import around

from ...simulated_board import (
    PARTS,
    TICK_S,
    TRUTH,
    Board,
    ScriptedMeter,
    even_ticks,
    run_sampler,
    watch_ticks,
)

RUNS, APART_S = 10, 2.0
DURATION_S = sum(duration_s for _, duration_s, _ in PARTS)


def phases(start_s):
    """Intervals of a run, the steps as one, and the board's spans of power."""
    intervals, spans, at_s = [], [], start_s
    for _, duration_s, power_w in PARTS:
        spans.append((at_s, at_s + duration_s, power_w))
        at_s += duration_s
    for name in TRUTH:
        own = [span for part, span in zip(PARTS, spans, strict=True) if part[0] == name]
        intervals.append(Interval(name, own[0][0], own[-1][1]))
    return intervals, spans


def measured(clock, seed):
    """Ten runs under one sampler, whose thread the machine wakes late: each as the fit sees it."""
    rng = random.Random(seed)

    def hold_up():
        return rng.expovariate(1 / 0.0005)

    starts = [clock.now_s + 0.5 + APART_S * i + rng.uniform(0, TICK_S) for i in range(RUNS)]
    runs = [phases(start_s) for start_s in starts]
    board = Board([span for _, spans in runs for span in spans])
    first_s = clock.now_s - rng.uniform(0, TICK_S)
    meter = ScriptedMeter(clock, even_ticks(first_s, count=1000), energy_at=board.energy_j)
    sampler = watch_ticks(meter, clock, 0.1, hold_up)
    for (intervals, _), start_s in zip(runs, starts, strict=True):
        reach_s = (start_s - 0.15, start_s + DURATION_S + 0.25)
        run_sampler(sampler, clock, reach_s[1], hold_up)
        samples = sampler.samples
        readings, _ = read_energies(meter, samples, intervals, reach_s)
        energies = [reading.energy_j for reading in readings]
        ticks, error_s = around(samples.counter, *reach_s), tick_error(samples, meter, *reach_s)
        yield energies, TickedRun.of(ticks, intervals, error_s, sum(energies))


@pytest.fixture
def experiments(simulated_time):
    return [list(measured(simulated_time, seed)) for seed in range(8)]


def test_ten_runs_pooled_have_no_bias(experiments):
    """60 ms, 20 x 45 ms and 80 ms under a counter of 100 ms: in each phase of each experiment."""
    means = np.array(
        [pool([run for _, run in runs], list(TRUTH)).mean(axis=0) for runs in experiments]
    )
    off = means / np.array(list(TRUTH.values())) - 1
    assert np.abs(off).max() < 0.005
    assert np.abs(off.mean(axis=0)).max() < 0.001


def test_phases_sum_to_the_whole(experiments):
    """Of every single run, and the whole is the board's."""
    wholes = [sum(energies) for runs in experiments for energies, _ in runs]
    assert wholes == pytest.approx([sum(TRUTH.values())] * len(wholes), rel=0.005)
    for runs in experiments:
        pooled = pool([run for _, run in runs], list(TRUTH))
        assert pooled.sum(axis=1) == pytest.approx([sum(energies) for energies, _ in runs])


def test_the_first_run_is_as_good_as_the_others(experiments):
    """Its ticks are timed by what is learnt while it goes on."""
    first = np.array([runs[0][0] for runs in experiments]) / list(TRUTH.values()) - 1
    assert np.sqrt((first**2).mean(axis=0)) == pytest.approx([0, 0, 0], abs=0.015)
