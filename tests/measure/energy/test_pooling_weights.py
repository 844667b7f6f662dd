"""A run counts in the pool by how well its ticks are timed, and no run by more than its borders."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from wattbench.measure.energy.attribution import Interval
from wattbench.measure.energy.pooling import BORDER_ERROR_S, TickedRun, pool
from wattbench.records import CounterSample

POWERS_W = {"encode": 100.0, "denoise": 300.0}
LENGTHS_S = {"encode": 0.73, "denoise": 1.96}
NAMES = list(POWERS_W)
TRUE_J = [POWERS_W[name] * LENGTHS_S[name] for name in NAMES]


def run(start_s, late_s=0.0, tick_error_s=BORDER_ERROR_S):
    """A run on a board of 30 W at rest, whose ticks are all timed too late by ``late_s``."""
    borders = start_s + np.cumsum([0.0, *LENGTHS_S.values()])
    edges = [0.0, *borders, 9.0]
    joules = np.cumsum([0.0, *np.diff(edges) * [30.0, *POWERS_W.values(), 30.0]])
    times = np.arange(0.0, borders[-1] + 0.25, 0.1)
    counted = np.interp(times, edges, joules)
    ticks = [CounterSample(t + late_s, e) for t, e in zip(times, counted, strict=True)]
    intervals = [Interval(n, *borders[i : i + 2]) for i, n in enumerate(NAMES)]
    return TickedRun.of(ticks, intervals, tick_error_s, sum(TRUE_J))


def expected(runs):
    """The pseudo-values by their definition: each tick a row of bounded least squares."""
    errors_s = [max(run.tick_error_s, BORDER_ERROR_S) for run in runs]
    best_s = min(errors_s)
    seconds = [
        run.table.segments.by_tick(run.table.response(NAMES, np.zeros(1))[0]) for run in runs
    ]
    mean_w = sum(run.table.energy_j.sum() for run in runs) / sum(s.sum() for s in seconds)
    calmest_w = min(run.table.calmest_w for run in runs)

    def mean(out):
        kept = [i for i in range(len(runs)) if i != out]
        rows = [best_s / errors_s[i] * seconds[i] for i in kept] + [best_s * np.eye(3)]
        right = [best_s / errors_s[i] * runs[i].table.energy_j for i in kept] + [
            [best_s * mean_w] * 3
        ]
        fit = lsq_linear(np.vstack(rows), np.concatenate(right), (calmest_w, np.inf), tol=1e-14)
        shares = []
        for i in kept:
            parts = seconds[i] * fit.x
            ticks_j = parts / parts.sum(axis=1, keepdims=True) * runs[i].table.energy_j[:, None]
            parts_j = ticks_j.sum(axis=0)[:2]
            shares.append(parts_j * runs[i].energy_j / parts_j.sum())
        return np.mean(shares, axis=0)

    n = len(runs)
    return np.array([n * mean(None) - (n - 1) * mean(out) for out in range(n)])


@pytest.mark.parametrize("errors_s", [(1e-3,) * 4, (1e-4, 2e-3, 5e-3, 0.05), (0.02, 0.01, 0.03, 2)])
def test_pseudo_values_are_those_of_the_definition(errors_s):
    runs = [
        run(0.31 + 0.023 * number, late_s, error_s)
        for number, (late_s, error_s) in enumerate(
            zip((0.0, 0.004, -0.01, 0.03), errors_s, strict=True)
        )
    ]
    # Without a run the shares are taken to change linearly, which is right to a few 1e-5.
    assert pool(runs, NAMES, 0.0) == pytest.approx(expected(runs), rel=2e-4)


def test_a_run_that_is_badly_timed_counts_for_little():
    """50 ms late: the first run of a process, in which the counter's rhythm is not known yet."""
    good = [run(0.31 + 0.013 * number) for number in range(8)]

    def off_j(tick_error_s):
        # Its own joules are left out, so that all that is seen is what it does to the others.
        late = replace(run(0.35, 0.05, tick_error_s), energy_j=0.0)
        return abs(pool([*good, late], NAMES).mean(axis=0)[0] * 9 / 8 - TRUE_J[0])

    assert off_j(0.05) < 0.01 * off_j(BORDER_ERROR_S)
    assert off_j(0.1) < off_j(0.05) < off_j(0.025)


@pytest.mark.parametrize("error_s", [0.0, 1e-5, 0.999e-3])
def test_borders_are_not_known_better_than_a_millisecond(error_s):
    """So a run whose ticks are known better than that counts no more than its borders allow."""
    others = [run(0.3), run(0.34, 0.02, 0.004)]
    at_the_bound = pool([run(0.33, 0.0, BORDER_ERROR_S), *others], NAMES)
    assert pool([run(0.33, 0.0, error_s), *others], NAMES) == pytest.approx(at_the_bound, rel=1e-12)


def test_just_above_a_millisecond_the_ticks_decide():
    others = [run(0.3), run(0.34, 0.02, 0.004)]
    at_the_bound = pool([run(0.33, 0.01, BORDER_ERROR_S), *others], NAMES)
    above = pool([run(0.33, 0.01, 1.1 * BORDER_ERROR_S), *others], NAMES)
    assert np.abs(above / at_the_bound - 1).max() > 1e-5
