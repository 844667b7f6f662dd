"""Tick period and read cost of a meter, seen from outside, in simulated time."""

import pytest

from wattbench.measure.meters import Meter
from wattbench.measure.meters.refresh import watch_meter
from wattbench.measure.meters.replay import ReplayMeter, parse

from ...simulated_board import SimulatedTime


@pytest.fixture
def clock(monkeypatch):
    clock = SimulatedTime()
    for module in ("refresh", "timed_read"):
        monkeypatch.setattr(f"wattbench.measure.meters.{module}.time", clock)
    return clock


def test_period_and_power(clock):
    """A counter of 200 W that ticks every 50 ms, and a power that changes every 100 ms."""
    rows = [f"{i * 0.05:.2f},{i * 10.0},{200 + i // 2 % 2}" for i in range(400)]
    text = "\n".join(["t_s,energy_j,power_w", *rows])
    figures = watch_meter(ReplayMeter("replay", parse(text), clock.perf_counter), 1.0)
    assert figures.counter.refresh_s == pytest.approx(0.05, abs=0.0011)
    assert figures.counter.refresh_low_s <= figures.counter.refresh_s
    assert figures.counter.refresh_s <= figures.counter.refresh_high_s < 0.053
    assert figures.power.refresh_s == pytest.approx(0.1, abs=0.0011)
    assert figures.counter_w == pytest.approx(200, rel=0.01)
    assert figures.power_w == pytest.approx(200.5, abs=0.02)


def test_cost_of_a_read_and_a_channel_that_is_not_there(clock):
    class Slow(Meter):
        name, scope = "slow:0", "gpu"

        def read_energy_j(self):
            clock.sleep(0.02)
            return 5.0

        def close(self):
            pass

    figures = watch_meter(Slow(), 0.2)
    assert figures.counter.read_s == pytest.approx(0.02)
    assert figures.counter.refresh_s is None
    assert (figures.counter_w, figures.power, figures.power_w) == (None, None, None)
