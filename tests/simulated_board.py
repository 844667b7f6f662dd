"""A board of known power with a counter that ticks slowly, and pollers that watch it."""

import math
import random
from bisect import bisect_right

from wattbench.measure.energy.attribution import Interval
from wattbench.measure.meters import Meter
from wattbench.measure.recording.sampler import Sampler
from wattbench.records import CounterSample

TICK_S = 0.1
POLL_S = 0.005
IDLE_W = 30.0
STEP_COUNT, STEP_S = 20, 0.045
PARTS = (
    ("text_encode", 0.06, 150.0),
    *(("denoise", STEP_S, 300.0) for _ in range(STEP_COUNT)),
    ("decode", 0.08, 220.0),
)
TRUTH = {"text_encode": 9.0, "denoise": 270.0, "decode": 17.6}
"""Joules of each phase: 60 ms at 150 W, 20 steps of 45 ms at 300 W, 80 ms at 220 W."""


class Board:
    """Power is a step function: ``spans`` of ``(start_s, end_s, power_w)``, idle besides."""

    def __init__(self, spans):
        self.spans = spans

    def energy_j(self, until_s):
        energy = IDLE_W * until_s
        for start_s, end_s, power_w in self.spans:
            energy += (power_w - IDLE_W) * max(0.0, min(end_s, until_s) - start_s)
        return energy

    def ticks(self, start_s, end_s, rng, period_s=TICK_S, poll_s=POLL_S, evenness=0.05):
        """What is kept of a run: each tick, timed to the middle between two polls.

        One tick goes by before the run, and one after it.
        """
        samples, tick_s, poll_at_s = [], rng.uniform(-period_s, 0), rng.uniform(0, poll_s)
        while len(samples) < 2 or samples[-2].t_s < end_s:
            seen_s = tick_s + (poll_at_s - tick_s) % poll_s
            samples.append(CounterSample(seen_s - poll_s / 2, self.energy_j(tick_s)))
            tick_s += period_s * rng.uniform(1 - evenness, 1 + evenness)
        last_before = max(i for i, sample in enumerate(samples) if sample.t_s <= start_s)
        return samples[last_before - 1 :]


def image(seed):
    """Ticks of one image that starts at a random point, and its intervals, steps one by one."""
    rng = random.Random(seed)
    at_s = rng.uniform(0.3, 0.3 + TICK_S)
    intervals, spans = [], []
    for name, duration_s, power_w in PARTS:
        intervals.append(Interval(name, at_s, at_s + duration_s))
        spans.append((at_s, at_s + duration_s, power_w))
        at_s += duration_s
    return Board(spans).ticks(intervals[0].start_s, at_s, rng), intervals


class RampedBoard(Board):
    """Its power goes towards that of :class:`Board` exponentially, with a time constant."""

    def __init__(self, spans, time_constant_s):
        super().__init__(spans)
        self.time_constant_s = time_constant_s

    def energy_j(self, until_s):
        """What was asked for by then, less what the power lags behind: the sum of all steps'."""
        energy = IDLE_W * until_s
        for start_s, end_s, power_w in self.spans:
            energy += (power_w - IDLE_W) * (
                self._risen(until_s - start_s) - self._risen(until_s - end_s)
            )
        return energy

    def _risen(self, since_s):
        """Seconds that a step of power has brought since it was made."""
        if since_s <= 0 or not self.time_constant_s:
            return max(since_s, 0.0)
        return since_s + self.time_constant_s * math.expm1(-since_s / self.time_constant_s)


class SimulatedTime:
    """Stands in for the module ``time``: it passes when a meter is read, or by hand."""

    def __init__(self):
        self.now_s = 50.0

    def perf_counter(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


class ScriptedMeter(Meter):
    """A counter that ticks at given moments; a read takes ``cost_s`` and shows its middle.

    ``energy_at`` says what the board has drawn by a moment; 100 W if nothing is given.
    """

    name, scope, poll_period_s = "scripted:0", "gpu", 0.005

    def __init__(self, clock, ticks_s, cost_s=5e-5, energy_at=lambda t_s: 100.0 * t_s):
        self.clock = clock
        self.ticks_s = ticks_s
        self.cost_s = cost_s
        self.energy_at = energy_at
        self.read_count = 0

    def read_energy_j(self):
        self.read_count += 1
        self.clock.sleep(self.cost_s / 2)
        passed = bisect_right(self.ticks_s, self.clock.now_s)
        self.clock.sleep(self.cost_s / 2)
        return self.energy_at(self.ticks_s[passed - 1])

    def close(self):
        pass


def even_ticks(first_s=49.937, period_s=TICK_S, count=10000):
    return [first_s + period_s * number for number in range(count)]


def run_sampler(sampler, clock, until_s, hold_up=lambda: 1e-4):
    """Let a sampler read what is due in simulated time, without its thread.

    ``hold_up`` says by how much the machine lets it wake too late.
    """
    while clock.now_s < until_s:
        clock.now_s = max(clock.now_s, sampler._due_s()) + hold_up()
        sampler._poll(sampler._channels)
    sampler.wait_for_tick(0.0)


def watch_ticks(meter, clock, seconds, hold_up=lambda: 1e-4, known=None):
    """A sampler that has watched a meter for some simulated seconds."""
    sampler = Sampler(meter, None, None, clock=known)
    run_sampler(sampler, clock, clock.now_s + seconds, hold_up)
    return sampler
