"""How a counter's ticks are found and followed: few reads, true times, honest errors."""

import random
from copy import copy

import numpy as np
import pytest

from wattbench.measure.recording.rhythms import Rhythms
from wattbench.measure.recording.sampler import Sampler
from wattbench.measure.recording.tick_follow import EDGE_S

from ...simulated_board import TICK_S, ScriptedMeter, even_ticks, run_sampler, watch_ticks


def errors(sampler, ticks_s):
    """How far each tick that was seen lies from the nearest true one, and what is said of that."""
    seen = np.array([tick.t_s for tick in sampler.samples.counter[1:]])
    true = np.array(ticks_s)
    nearest = true[np.abs(true[None, :] - seen[:, None]).argmin(axis=1)]
    return seen - nearest, np.array([tick.error_s for tick in sampler.samples.tick_errors])


@pytest.fixture
def meter(simulated_time):
    """An even counter."""
    return ScriptedMeter(simulated_time, even_ticks(count=3000))


def test_an_even_counter_is_known_within_a_second(meter, simulated_time):
    """Thirty reads find two ticks; then it is little more than one a tick."""
    sampler = watch_ticks(meter, simulated_time, 1.0)
    off_s, stated_s = errors(sampler, meter.ticks_s[:100])
    assert len(off_s) == 11
    assert np.abs(off_s).max() < 5e-4
    assert (np.abs(off_s) <= stated_s + 1e-9).all()
    first_count = meter.read_count
    assert first_count < 60
    watch_ticks(meter, simulated_time, 20.0, known=sampler.clock)
    assert meter.read_count - first_count < 230


@pytest.mark.parametrize("cost_s", [1e-5, 0.004])
def test_no_bias_however_the_machine_holds_reads_up(simulated_time, cost_s):
    """Reads come up to 8 ms late, always late: ticks are timed as if they did not."""
    rng = random.Random(2)
    meter = ScriptedMeter(simulated_time, even_ticks(), cost_s)
    late = watch_ticks(meter, simulated_time, 20.0, hold_up=lambda: rng.expovariate(1 / 0.002))
    off_s, stated_s = errors(late, meter.ticks_s[:400])
    assert len(off_s) > 190
    assert abs(off_s.mean()) < 2e-4 + cost_s / 4
    assert (np.abs(off_s) <= stated_s + 1e-9).all()


def test_a_thread_that_is_stopped_for_long_numbers_no_tick_wrongly(meter, simulated_time):
    """Held up by up to half a second: ticks are missed, and the rest is right."""
    rng = random.Random(3)

    def hold_up():
        return rng.uniform(0.1, 0.5) if rng.random() < 0.1 else 1e-4

    sampler = watch_ticks(meter, simulated_time, 30.0, hold_up)
    off_s, _ = errors(sampler, meter.ticks_s[:600])
    assert 100 < len(off_s) < 290
    assert np.abs(off_s[20:]).max() < 1e-3
    joules = [tick.energy_j for tick in sampler.samples.counter]
    assert joules == sorted(joules)


@pytest.mark.parametrize("seed", range(5))
def test_ticks_are_found_again_after_a_stop_in_a_new_rhythm(simulated_time, seed):
    """After 1.5 s, a rhythm of a few ticks no longer tells which of 75 others was the last."""
    rng = random.Random(seed)
    meter = ScriptedMeter(simulated_time, even_ticks(period_s=0.02))
    sampler = Sampler(meter, None, None)
    for _ in range(2):
        stopped_s = simulated_time.now_s = simulated_time.now_s + 1.5
        run_sampler(sampler, simulated_time, stopped_s + 0.15, lambda: rng.uniform(0, 0.004))
    assert sampler.samples.counter[-1].t_s > simulated_time.now_s - 0.06


@pytest.mark.parametrize("seed", range(10))
def test_a_busy_machine_leads_to_no_false_rhythm(simulated_time, seed):
    """Reads come 3 ms late on average and now and then 0.4 s, from the start on."""
    rng = random.Random(seed)

    def hold_up():
        return rng.uniform(0.02, 0.4) if rng.random() < 0.02 else rng.expovariate(1 / 0.003)

    meter = ScriptedMeter(simulated_time, even_ticks(first_s=49.9 + rng.uniform(0, TICK_S)))
    sampler = watch_ticks(meter, simulated_time, 20.0, hold_up)
    off_s, stated_s = errors(sampler, meter.ticks_s[:400])
    assert sampler.clock.period_s == pytest.approx(TICK_S, rel=1e-4)
    assert sampler.clock.slack_s == 0
    assert np.mean(np.abs(off_s) <= stated_s + 1e-9) > 0.98
    assert np.abs(off_s[-50:]).max() < 5e-4


@pytest.mark.parametrize("jitter_s", [0.001, 0.004])
def test_ticks_that_are_a_little_uneven_get_an_honest_error(simulated_time, jitter_s):
    rng = random.Random(4)
    ticks_s = [tick_s + rng.uniform(-jitter_s, jitter_s) for tick_s in even_ticks(count=1000)]
    sampler = watch_ticks(ScriptedMeter(simulated_time, ticks_s), simulated_time, 60.0)
    off_s, stated_s = errors(sampler, ticks_s)
    assert abs(off_s.mean()) < jitter_s
    assert np.sqrt(np.mean(off_s**2)) < 1.5 * np.median(stated_s)
    assert np.median(stated_s) < 3 * jitter_s


def test_uneven_ticks_are_looked_for_one_by_one(simulated_time):
    rng, ticks_s = random.Random(5), [49.95]
    while len(ticks_s) < 1000:
        ticks_s.append(ticks_s[-1] + TICK_S * rng.uniform(0.8, 1.2))
    sampler = watch_ticks(ScriptedMeter(simulated_time, ticks_s), simulated_time, 60.0)
    off_s, stated_s = errors(sampler, ticks_s)
    assert len(off_s) > 570
    assert sampler.clock is None
    assert np.mean(np.abs(off_s) <= stated_s + 1e-9) > 0.97
    assert np.median(np.abs(off_s)) < 0.003


def test_a_slow_drift_is_followed(simulated_time):
    """12 parts in a million faster after a minute, more than quartz that grows warm."""
    ticks_s = [49.95 + TICK_S * n - 1e-9 * n**2 for n in range(1000)]
    sampler = watch_ticks(ScriptedMeter(simulated_time, ticks_s), simulated_time, 60.0)
    off_s, stated_s = errors(sampler, ticks_s)
    assert sampler.clock is not None
    assert np.abs(off_s).max() < 5e-4
    assert np.mean(np.abs(off_s) <= stated_s + 1e-4) > 0.9


@pytest.mark.parametrize("pause_s", [0.0, 10.0, 90.0])
def test_a_known_rhythm_saves_the_search(meter, simulated_time, pause_s):
    """The first tick is right at once, after four reads, where a stranger needs about thirty."""
    known = watch_ticks(meter, simulated_time, 3.0).clock
    simulated_time.sleep(pause_s)
    before_count, began_s = meter.read_count, simulated_time.now_s
    sampler = watch_ticks(meter, simulated_time, 0.25, known=copy(known))
    off_s, stated_s = errors(sampler, meter.ticks_s)
    assert meter.read_count - before_count <= 10
    assert sampler.samples.counter[1].t_s - began_s < 2 * TICK_S
    assert (np.abs(off_s) <= stated_s + 1e-9).all()


@pytest.mark.parametrize("pause_s", [0.01, 0.13, 1.0, 30.0])
def test_one_or_two_reads_tell_the_last_tick_after_a_pause(meter, simulated_time, pause_s):
    sampler = watch_ticks(meter, simulated_time, 5.0)
    simulated_time.sleep(pause_s)
    before_count, resumed_s = meter.read_count, simulated_time.now_s
    ticked_s = sampler.resume(1.0)
    assert meter.read_count - before_count <= 2
    assert resumed_s - TICK_S - 1e-3 < ticked_s <= simulated_time.now_s
    last_s = max(tick_s for tick_s in meter.ticks_s if tick_s <= ticked_s + 1e-3)
    assert sampler.samples.counter[-1].energy_j == meter.energy_at(last_s)
    run_sampler(sampler, simulated_time, simulated_time.now_s + 3.0)
    off_s, stated_s = errors(sampler, meter.ticks_s)
    assert np.abs(off_s[20:]).max() < 5e-4
    assert (np.abs(off_s) <= stated_s + 1e-9).all()


def test_a_pause_without_a_rhythm_makes_no_tick_of_unknown_time(simulated_time):
    rng, ticks_s = random.Random(6), [49.95]
    while len(ticks_s) < 400:
        ticks_s.append(ticks_s[-1] + TICK_S * rng.uniform(0.8, 1.2))
    meter = ScriptedMeter(simulated_time, ticks_s)
    sampler = watch_ticks(meter, simulated_time, 2.0)
    known_count = len(sampler.samples.tick_errors)
    for _ in range(5):
        simulated_time.sleep(1.0)
        resumed_s = simulated_time.now_s
        assert sampler.resume(1.0) > resumed_s
        run_sampler(sampler, simulated_time, simulated_time.now_s + 1.0)
    off_s, _ = errors(sampler, ticks_s)
    assert len(off_s) > known_count + 40
    assert np.abs(off_s[known_count:]).max() < 0.02


def test_a_counter_that_froze_in_a_pause_gives_no_new_tick(meter, simulated_time):
    sampler = watch_ticks(meter, simulated_time, 5.0)
    frozen_count = len(sampler.samples.counter)
    meter.ticks_s = [tick_s for tick_s in meter.ticks_s if tick_s < simulated_time.now_s]
    simulated_time.sleep(1.0)
    resumed_s = simulated_time.now_s
    assert sampler.resume(0.5) < resumed_s - 0.9
    assert not sampler.wait_for_tick(0.5)
    assert len(sampler.samples.counter) == frozen_count


def test_a_rhythm_that_no_longer_holds_is_given_up(meter, simulated_time):
    """The same counter, but its ticks come 40 ms later than they used to."""
    known = watch_ticks(meter, simulated_time, 3.0).clock
    meter.ticks_s = [tick_s + 0.04 for tick_s in meter.ticks_s]
    sampler = watch_ticks(meter, simulated_time, 3.0, known=copy(known))
    off_s, _ = errors(sampler, meter.ticks_s)
    assert len(off_s) > 20
    assert np.abs(off_s).max() < 0.004
    assert np.abs(off_s[10:]).max() < EDGE_S


def test_an_old_rhythm_is_not_tried(meter, simulated_time):
    known = watch_ticks(meter, simulated_time, 3.0).clock
    simulated_time.sleep(3600)
    meter.ticks_s = even_ticks(first_s=simulated_time.now_s - 0.03, count=100)
    sampler = watch_ticks(meter, simulated_time, 1.0, known=known)
    assert np.abs(errors(sampler, meter.ticks_s)[0]).max() < 0.003


def test_rhythms_are_kept_for_each_meter(meter, simulated_time):
    clock = watch_ticks(meter, simulated_time, 3.0).clock
    rhythms = Rhythms()
    rhythms.keep("nvml:0", clock)
    assert rhythms.of("nvml:1") is None
    kept = rhythms.of("nvml:0")
    assert kept.period_s == clock.period_s
    kept.narrow(100, after_s=kept.time(100)[0])
    assert rhythms.of("nvml:0").bounds(100) == clock.bounds(100)
    rhythms.keep("nvml:0", None)
    assert rhythms.of("nvml:0") is None
