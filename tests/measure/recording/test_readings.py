"""Readings from scripted samples: both sources, faults that are never 0 J, and disagreement."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.energy.attribution import Interval
from wattbench.measure.meters import Meter
from wattbench.measure.recording.readings import read_energies
from wattbench.measure.recording.samples import Samples, TickError
from wattbench.records import CounterSample, PowerSample

TICK_S = 0.1
RUN = [Interval("text_encode", 1.0, 1.06), Interval("denoise", 1.06, 2.5)]


class Scripted(Meter):
    """Its samples are made here; nothing reads it."""

    name, scope, poll_period_s, note = "scripted:0", "gpu", 0.005, ""

    def close(self):
        pass


def samples_of(energy_at, power_at=None, until_s=4.0):
    """Ticks of a counter and, if asked for, power every 20 ms."""
    samples = Samples()
    for index in range(int(until_s / TICK_S) + 1):
        t_s = index * TICK_S
        joules = energy_at(t_s)
        if not samples.counter or samples.counter[-1].energy_j != joules:
            samples.counter.append(CounterSample(t_s, joules))
            samples.tick_errors.append(TickError(t_s, 0.0025))
    if power_at is not None:
        samples.power = [PowerSample(i * 0.02, power_at(i * 0.02)) for i in range(200)]
    return samples


def read(samples, intervals=RUN):
    return read_energies(Scripted(), samples, intervals)


@given(st.floats(5, 700))
def test_constant_power(power_w):
    readings, note = read(samples_of(lambda t: power_w * t, lambda _: power_w))
    for reading, interval in zip(readings, RUN, strict=True):
        assert reading.energy_j == pytest.approx(power_w * interval.duration_s, rel=1e-6)
        assert reading.counter_j == reading.energy_j
        assert reading.integrated_j == pytest.approx(reading.energy_j, rel=1e-6)
    assert note == ""


@given(st.floats(20, 200), st.floats(200, 700), st.floats(0.3, 2.0))
def test_a_step_of_power_at_a_border(idle_w, load_w, duration_s):
    """Whole ticks of rest on both sides make the whole run exact, wherever its borders lie."""
    end_s = 1.0 + duration_s

    def energy_at(t_s):
        return idle_w * t_s + (load_w - idle_w) * min(max(t_s - 1.0, 0.0), duration_s)

    (reading,), _ = read_energies(
        Scripted(), samples_of(energy_at), [Interval("denoise", 1.0, end_s)], (0.75, end_s + 0.25)
    )
    assert reading.energy_j == pytest.approx(load_w * duration_s, rel=0.02)


@given(st.floats(0.001, 0.09), st.floats(30, 600))
def test_a_phase_below_the_tick_is_never_zero(duration_s, power_w):
    intervals = [Interval("text_encode", 1.0, 1.0 + duration_s)]
    (reading,), _ = read(samples_of(lambda t: power_w * t), intervals)
    assert reading.energy_j == pytest.approx(power_w * duration_s, rel=1e-6)
    assert reading.method == "attributed"


FAULTS = {
    "frozen": (samples_of(lambda _: 5.0), "did not advance"),
    "reset": (samples_of(lambda t: 100.0 * t if t < 1.5 else 1.0 + t), "ran backwards"),
    "stopped": (samples_of(lambda t: 100.0 * min(t, 2.0)), "do not reach"),
    "missing": (Samples(), "no sample"),
    "failed": (Samples(faults=["the board fell off the bus"]), "fell off the bus"),
    "power too late": (Samples(power=[PowerSample(1.5, 200.0)]), "reaches back"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_becomes_a_number(fault):
    samples, reason = FAULTS[fault]
    readings, note = read(samples)
    assert readings == [None, None]
    assert reason in note


def test_power_alone_is_integrated():
    samples = samples_of(lambda _: 0.0, lambda t: 300.0 if 1.06 <= t < 2.5 else 100.0)
    samples.counter.clear()
    readings, _ = read(samples)
    assert [reading.method for reading in readings] == ["integrated"] * 2
    assert readings[1].energy_j == pytest.approx(300 * 1.44, rel=0.02)
    assert (readings[1].counter_j, readings[1].integrated_j) == (None, readings[1].energy_j)


def test_a_real_disagreement_is_noted_with_its_sign():
    _, note = read(samples_of(lambda t: 200.0 * t, lambda _: 170.0))
    assert note == "integrated power differs from the counter by -15.0 %"


def test_a_sensor_that_only_lags_is_no_disagreement():
    """300 W seen 80 ms late, refreshed every 100 ms: 5 % of a short run, and no fault."""

    def energy_at(t_s):
        return 50.0 * t_s + 250.0 * min(max(t_s - 1.0, 0.0), 0.5)

    def power_at(t_s):
        seen_s = TICK_S * int((t_s - 0.08) / TICK_S)
        return 300.0 if 1.0 <= seen_s < 1.5 else 50.0 + 0.01 * (int(t_s / TICK_S) % 2)

    intervals = [Interval("denoise", 1.0, 1.5)]
    (reading,), note = read(samples_of(energy_at, power_at), intervals)
    assert reading.integrated_j < 0.95 * reading.counter_j
    assert note == ""


def test_a_long_span_is_called_counted():
    intervals = [Interval("denoise", 1.0, 7.0)]
    (reading,), _ = read(samples_of(lambda t: 100.0 * t, until_s=9.0), intervals)
    assert reading.method == "counter"
    assert reading.resolution_j == pytest.approx(10.0)
