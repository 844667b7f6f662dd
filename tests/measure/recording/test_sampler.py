"""How the sampler watches a counter: ticks timed between reads, slow calls kept apart."""

import time

import numpy as np
import pytest

from wattbench.measure.meters import DeviceStatus, Meter, MeterReadError
from wattbench.measure.recording.sampler import Sampler
from wattbench.measure.recording.samples import around

from ...simulated_board import TICK_S, run_sampler
from ...waiting import until

LONG_S = 60.0
"""Longer than any machine holds a thread up."""


class TickingMeter(Meter):
    """100 W in ticks of 100 ms; each call takes ``cost_s``, as on a virtual machine."""

    name, scope, poll_period_s = "ticking:0", "gpu", 0.005

    def __init__(self, cost_s, clock=time):
        self.cost_s = cost_s
        self.clock = clock
        self.start_s = clock.perf_counter()
        self.calls = {"energy": 0, "power": 0, "status": 0}

    def call(self, name):
        self.calls[name] += 1
        self.clock.sleep(self.cost_s)

    def read_energy_j(self):
        """The value is that of the middle of the call."""
        self.calls["energy"] += 1
        self.clock.sleep(self.cost_s / 2)
        energy_j = 10.0 * int((self.clock.perf_counter() - self.start_s) / TICK_S)
        self.clock.sleep(self.cost_s / 2)
        return energy_j

    def read_power_w(self):
        self.call("power")
        return 100.0

    def read_status(self):
        self.clock.sleep(7 * self.cost_s)
        self.call("status")
        return DeviceStatus(temperature_c=50.0)

    def close(self):
        pass


class FrozenMeter(TickingMeter):
    """Its counter never moves."""

    def read_energy_j(self):
        self.call("energy")
        return 5.0


@pytest.fixture
def watch(simulated_time):
    """A function that watches a meter of a kind for ten simulated seconds, without a thread."""

    def watch_kind(kind, cost_s):
        meter = kind(cost_s, simulated_time)
        sampler = Sampler(meter, None, None)
        run_sampler(sampler, simulated_time, meter.start_s + 10.0)
        return meter, sampler.samples

    return watch_kind


@pytest.fixture
def slow_meter(watch):
    """A meter of 5 ms a call, and what was seen of it."""
    return watch(TickingMeter, 0.005)


def test_ticks_are_timed_without_bias(slow_meter):
    """True ticks lie at whole multiples of 100 ms; the error that is stated is the right size."""
    meter, samples = slow_meter
    times = np.array([tick.t_s for tick in samples.counter[1:]]) - meter.start_s
    errors = times - TICK_S * np.round(times / TICK_S)
    stated = np.array([error.error_s for error in samples.tick_errors])
    assert len(times) >= 98
    assert abs(np.mean(errors)) < 0.001
    assert np.abs(errors).max() < 0.006
    assert np.mean(np.abs(errors) <= 2 * stated) > 0.95
    assert np.median(stated) < 0.004


def test_the_counter_is_read_little_more_than_once_a_tick(slow_meter):
    """Reading every 5 ms without a pause would be 2000 calls in ten seconds."""
    meter, _ = slow_meter
    assert meter.calls["energy"] < 250


def test_slow_reads_are_rare(slow_meter):
    """At most a twentieth of the time each: 5 ms of power in 0.1 s, 40 ms of status in 1 s."""
    meter, samples = slow_meter
    assert 50 <= meter.calls["power"] <= 100
    assert 8 <= meter.calls["status"] <= 11
    assert len(samples.status) == meter.calls["status"]


@pytest.mark.parametrize("cost_s", [0.0, 0.005, 0.03])
def test_a_counter_that_always_changes_is_as_new_as_its_read(watch, cost_s):
    class Fast(TickingMeter):
        def read_energy_j(self):
            self.clock.sleep(self.cost_s / 2)
            energy_j = 100.0 * (self.clock.perf_counter() - self.start_s)
            self.clock.sleep(self.cost_s / 2)
            return energy_j

    meter, samples = watch(Fast, cost_s)
    assert len(samples.counter) > 100
    for tick in samples.counter[1:]:
        assert 100.0 * (tick.t_s - meter.start_s) == pytest.approx(tick.energy_j, abs=0.05)


def test_a_channel_that_fails_is_named_and_not_read_again():
    class Failing(TickingMeter):
        def read_power_w(self):
            self.call("power")
            raise MeterReadError("the sensor is gone")

    meter = Failing(0.0)
    with Sampler(meter, None, None) as sampler:
        until(lambda: len(sampler.samples.counter) >= 3)
    assert sampler.samples.faults == ["the sensor is gone"]
    assert meter.calls["power"] == 1


def test_the_allocator_is_sampled_beside_the_driver():
    with Sampler(None, lambda: 30, None, lambda: 20) as sampler:
        until(lambda: sampler.samples.allocator)
    assert {sample.used_bytes for sample in sampler.samples.vram} == {30}
    assert {sample.used_bytes for sample in sampler.samples.allocator} == {20}


def test_memory_is_read_as_the_measured_part_ends():
    """What an allocator kept of a short peak is still in use then."""
    used = [30]
    with Sampler(None, lambda: used[0], None) as sampler:
        used[0] = 70
    assert [sample.used_bytes for sample in sampler.samples.vram] == [30, 70]


def test_waiting_for_a_tick_tells_whether_it_came():
    sampler = Sampler(TickingMeter(0.0), None, None)
    called_s = time.perf_counter()
    assert sampler.wait_for_tick(LONG_S)
    assert sampler.samples.counter[-1].t_s > called_s
    frozen = Sampler(FrozenMeter(0.0), None, None)
    frozen.resume(0.0)
    assert not frozen.wait_for_tick(0.02)
    assert not Sampler(None, None, lambda: 1).wait_for_tick(LONG_S)


def test_around_reaches_over_both_ends(slow_meter):
    _, samples = slow_meter
    ticks = samples.counter
    middle = around(ticks, ticks[3].t_s + 0.01, ticks[5].t_s + 0.01)
    assert middle == tuple(ticks[3:7])
    assert around(ticks, 0.0, 1e12) == tuple(ticks)


class ComputedMeter(FrozenMeter):
    """Nothing is used while it is watched, and that is known at every read."""

    is_computed = True


def test_every_read_of_a_computed_counter_is_kept():
    """It need not change: a run after which nothing is used is covered all the same."""
    sampler = Sampler(ComputedMeter(0.0), None, lambda: None)
    assert sampler.wait_for_tick(LONG_S)
    now_s = time.perf_counter()
    assert sampler.wait_for_tick(LONG_S)
    assert {sample.energy_j for sample in sampler.samples.counter} == {5.0}
    assert around(sampler.samples.counter, now_s, now_s)[0].t_s <= now_s
    assert sampler.samples.counter[-1].t_s > now_s


@pytest.mark.parametrize(("seconds", "least"), [(2.0, 15), (4.0, 25)])
def test_a_short_run_has_enough_power_to_be_compared_by(
    simulated_time, monkeypatch, seconds, least
):
    """And a long one no more than it needs: 2.5 a second from eight seconds on."""
    meter = TickingMeter(0.0, simulated_time)
    sampler = Sampler(meter, None, None)
    monkeypatch.setattr(sampler, "_loop", lambda: None)
    with sampler:
        run_sampler(sampler, simulated_time, simulated_time.now_s + seconds)
        assert least <= len(sampler.samples.power) <= 12 * seconds
        run_sampler(sampler, simulated_time, simulated_time.now_s + 20)
        count = len(sampler.samples.power)
        run_sampler(sampler, simulated_time, simulated_time.now_s + 20)
        assert len(sampler.samples.power) - count <= 52
