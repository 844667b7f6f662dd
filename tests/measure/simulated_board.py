"""A board of known power with a counter that ticks slowly, and a poller that watches it."""

import random

from wattbench.measure.attribution import Interval
from wattbench.measure.records import CounterSample

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

    def ticks(self, start_s, end_s, rng):
        """What is kept of a run: each tick, timed to the middle between two polls.

        One tick goes by before the run, and one after it.
        """
        samples, tick_s, poll_at_s = [], rng.uniform(-TICK_S, 0), rng.uniform(0, POLL_S)
        while len(samples) < 2 or samples[-2].t_s < end_s:
            seen_s = tick_s + (poll_at_s - tick_s) % POLL_S
            samples.append(CounterSample(seen_s - POLL_S / 2, self.energy_j(tick_s)))
            tick_s += TICK_S * rng.uniform(0.95, 1.05)
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
