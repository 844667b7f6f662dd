"""A board whose power changes from step to step: phases against a known truth."""

import random
from dataclasses import replace

import numpy as np
import pytest

from wattbench.measure.energy import phases as module
from wattbench.measure.energy.attribution import Interval, share_ticks
from wattbench.measure.energy.phases import pooled_phases
from wattbench.records import EnergyReading, Phase, Trace
from wattbench.stats import estimate

from ...simulated_board import PARTS, TICK_S, TRUTH, RampedBoard

NAMES = list(TRUTH)
POLL_S = 4e-4
TURNS_W = (220.0, 380.0)
"""The power of odd steps, and of even ones; their mean is that of the board of the other tests."""


def made(make_run, rng, turns_w, constant_s=0.0, period_s=TICK_S):
    """A run, and the joules that the board drew within each of its phases."""
    at_s, spans, step = rng.uniform(0.3, 0.3 + period_s), [], 0
    for name, duration_s, power_w in PARTS:
        if name == "denoise":
            power_w, step = turns_w[step % 2], step + 1
        spans.append((at_s, at_s + duration_s, power_w))
        at_s += duration_s
    board, start_s = RampedBoard(spans, constant_s), spans[0][0]
    owned = {n: [s for p, s in zip(PARTS, spans, strict=True) if p[0] == n] for n in NAMES}
    intervals = [Interval(n, own[0][0], own[-1][1]) for n, own in owned.items()]
    ticks = tuple(board.ticks(start_s, at_s, rng, period_s, POLL_S, 0.0))
    joules = share_ticks(ticks, intervals, POLL_S / 2)
    phases = tuple(
        Phase(
            i.name,
            i.start_s,
            i.duration_s,
            EnergyReading(energy_j, i.duration_s, "nvml:0", "gpu", "attributed", 20.0, 9),
            tuple(end for _, end, _ in owned["denoise"]) if i.name == "denoise" else (),
        )
        for i, energy_j in zip(intervals, joules, strict=True)
    )
    truth = [board.energy_j(i.end_s) - board.energy_j(i.start_s) for i in intervals]
    return make_run(phases=phases, trace=Trace(ticks, (), POLL_S / 2)), truth


def experiment(make_run, seed, turns_w, **board):
    """Pseudo-values ``[runs, phases]`` of ten runs, and the true means."""
    rng = random.Random(seed)
    runs, truths = zip(*(made(make_run, rng, turns_w, **board) for _ in range(10)), strict=True)
    pooled = pooled_phases(runs)
    values = np.array([[found.energy_j[name] for name in NAMES] for found in pooled])
    whole = [sum(phase.energy.energy_j for phase in run.phases) for run in runs]
    assert values.sum(axis=1) == pytest.approx(whole)
    return values, np.mean(truths, axis=0)


@pytest.mark.parametrize("constant_s", [0.0, 0.015, 0.05])
def test_powers_that_alternate_blur_no_phase(make_run, constant_s):
    """One level for all steps is off by 20 % in encode and by 8 % in decode."""
    for seed in range(3):
        values, truth = experiment(make_run, seed, TURNS_W, constant_s=constant_s)
        assert values.mean(axis=0) == pytest.approx(truth, rel=0.02)


@pytest.mark.parametrize("period_s", [0.02, TICK_S])
def test_intervals_hold_the_truth_of_alternating_powers(make_run, period_s):
    hits = []
    for seed in range(8):
        values, truth = experiment(make_run, seed, TURNS_W, period_s=period_s)
        found = [estimate(column, "J") for column in values.T]
        hits += [abs(e.value - t) <= e.half_width for e, t in zip(found, truth, strict=True)]
    assert np.mean(hits) > 0.8


def test_powers_that_are_alike_need_no_levels_of_their_own(make_run, monkeypatch):
    for seed in range(4):
        values, _ = experiment(make_run, seed, (300.0, 300.0))
        with monkeypatch.context() as patch:
            patch.setattr(module, "MOST_LEVELS", 0)
            coarse, _ = experiment(make_run, seed, (300.0, 300.0))
        assert (values == coarse).all()


def test_too_few_ticks_tell_no_levels_of_their_own(make_run):
    """A single run has a dozen ticks for 22 levels; with them it would be noise."""
    run, _ = made(make_run, random.Random(1), TURNS_W)
    [alone] = pooled_phases([run])
    [without_steps] = pooled_phases(
        [replace(run, phases=tuple(replace(p, step_ends_s=()) for p in run.phases))]
    )
    assert alone == without_steps


def test_runs_of_unlike_steps_have_one_level(make_run):
    rng = random.Random(2)
    runs = [made(make_run, rng, TURNS_W)[0] for _ in range(10)]
    encode, denoise, decode = runs[0].phases
    fewer = replace(denoise, step_ends_s=denoise.step_ends_s[:-1])
    runs[0] = replace(runs[0], phases=(encode, fewer, decode))
    values = [found.energy_j["text_encode"] for found in pooled_phases(runs)]
    assert abs(np.mean(values) / TRUTH["text_encode"] - 1) > 0.05
