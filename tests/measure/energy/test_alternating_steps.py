"""A board whose power changes from step to step: phases against a known truth."""

import random
from dataclasses import replace

import numpy as np
import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.protocol import protocol_notes
from wattbench.measure.energy import phases as module
from wattbench.measure.energy.attribution import Interval, share_ticks
from wattbench.measure.energy.phases import pooled_phases, step_profiles
from wattbench.records import EnergyReading, Phase, Trace
from wattbench.report import runs_frame
from wattbench.report.blanks import blank_reasons
from wattbench.report.breakdown import breakdown_table
from wattbench.stats import estimate

from ...simulated_board import PARTS, TICK_S, TRUTH, RampedBoard

NAMES = list(TRUTH)
POLL_S = 4e-4
TURNS_W = (220.0, 380.0)
"""The power of odd steps, and of even ones; their mean is that of the board of the other tests."""

BOARDS = {
    "alternating": TURNS_W,
    "ramped": tuple(240.0 + 120.0 * step / 19 for step in range(20)),
    "capped": (360.0,) * 6 + (280.0,) * 14,
}


def made(make_run, rng, turns_w, constant_s=0.0, period_s=TICK_S):
    """A run, and the joules that the board drew within each of its phases."""
    at_s, spans, step = rng.uniform(2.1 * period_s, 3.1 * period_s), [], 0
    for name, duration_s, power_w in PARTS:
        if name == "denoise":
            power_w, step = turns_w[step % len(turns_w)], step + 1
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


def experiment(make_run, seed, turns_w, run_count=10, **board):
    """Pseudo-values ``[runs, phases]``, and the true means."""
    rng = random.Random(seed)
    made_runs = (made(make_run, rng, turns_w, **board) for _ in range(run_count))
    runs, truths = zip(*made_runs, strict=True)
    pooled = pooled_phases(runs)
    values = np.array([[found.energy_j[name] for name in NAMES] for found in pooled])
    return values, np.mean(truths, axis=0)


@pytest.mark.parametrize("constant_s", [0.0, 0.015, 0.05])
def test_powers_that_alternate_blur_no_phase(make_run, constant_s):
    """One level for all steps is off by 20 % in encode and by 8 % in decode."""
    for seed in range(3):
        values, truth = experiment(make_run, seed, TURNS_W, constant_s=constant_s)
        assert values.mean(axis=0) == pytest.approx(truth, rel=0.02)


@pytest.mark.parametrize("levels_w", BOARDS.values(), ids=BOARDS)
@pytest.mark.parametrize(
    ("constant_s", "period_s", "run_count"),
    [(0.0, TICK_S, 10), (0.015, TICK_S, 10), (0.05, 0.02, 10), (0.05, 0.3, 10), (0.1, TICK_S, 3)],
)
def test_intervals_hold_the_truth(make_run, levels_w, constant_s, period_s, run_count):
    """Phases that had to sum to each run's own energy left it out 3 times in 5 (τ 15 to 100 ms)."""
    hits, halves = [], []
    board = {"constant_s": constant_s, "period_s": period_s, "run_count": run_count}
    for seed in range(5):
        values, truth = experiment(make_run, seed, levels_w, **board)
        found = [estimate(column, "J") for column in values.T]
        hits += [abs(e.value - t) <= e.half_width for e, t in zip(found, truth, strict=True)]
        halves.append([e.half_width / t for e, t in zip(found, truth, strict=True)])
    assert np.mean(hits) >= 0.8
    assert (np.median(halves, axis=0) < (0.06, 0.003, 0.02)).all()


@pytest.mark.parametrize(("period_s", "is_told"), [(0.345, True), (0.348, False)])
def test_a_counter_too_slow_for_the_run_tells_no_phase(make_run, period_s, is_told):
    """A run of 1.04 s; three ticks are 1.035 and 1.044 s."""
    rng = random.Random(3)
    runs = [made(make_run, rng, TURNS_W, period_s=period_s)[0] for _ in range(6)]
    found = pooled_phases(runs)
    assert {bool(one.energy_j) for one in found} == {is_told}
    assert {one.note for one in found} == {"" if is_told else module.SLOW_COUNTER}
    assert bool(step_profiles(runs, found)) == is_told
    frame = runs_frame(runs, found)
    assert frame["energy_j"].notna().all()
    assert set(frame["j_per_step"].notna()) == {is_told}
    assert set(frame["energy_note"].str.contains("ticks too seldom")) == {not is_told}
    analysis = Analysis.of(runs)
    table = breakdown_table(analysis)
    told = blank_reasons(table, analysis)[0].get("Encode (J)")
    assert told == (None if is_told else module.SLOW_COUNTER)


def estimated(run):
    phases = [replace(p, energy=replace(p.energy, method="estimated")) for p in run.phases]
    return replace(run, phases=tuple(phases))


def test_an_estimate_tells_its_phases_whatever_its_tick(make_run):
    """A user without a meter, on a fast CPU: the power is the one that was assumed."""
    rng = random.Random(3)
    runs = [made(make_run, rng, TURNS_W, period_s=0.348)[0] for _ in range(6)]
    found = pooled_phases([estimated(run) for run in runs])
    assert {one.method for one in found} == {"estimated"}
    assert all(one.energy_j for one in found)
    assert {one.note for one in found} == {""}


def test_of_many_steps_the_outer_ones_have_levels(make_run, monkeypatch):
    """As those of 100 steps, of which no more than 60 may have one."""
    monkeypatch.setattr(module, "MOST_LEVELS", 9)
    values, truth = experiment(make_run, 1, TURNS_W)
    assert values.mean(axis=0) == pytest.approx(truth, rel=0.02)


def test_single_runs_that_are_off_are_told_so(make_run):
    """Of a capped board with τ = 50 ms each run's own ticks say 1 % too much."""
    runs, truths = [], []
    rng = random.Random(0)
    for number in range(10):
        run, truth = made(make_run, rng, BOARDS["capped"], constant_s=0.05)
        joules = sum(phase.energy.energy_j for phase in run.phases)
        energy = replace(run.phases[0].energy, energy_j=joules, duration_s=1.04)
        runs.append(replace(run, run_id=str(number), energy=energy))
        truths.append(sum(truth))
    frame = runs_frame(runs)
    off = np.mean(truths) / frame["energy_j"].mean() - 1
    assert off < -0.005
    [note] = [note for note in protocol_notes(frame) if "by the ticks of all runs" in note]
    assert note.endswith(f"together it is {off:+.1%}")


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
