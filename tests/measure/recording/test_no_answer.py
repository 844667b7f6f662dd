"""A meter that never returns: blank readings with the reason, and nobody waits for it for long.

The meters here block as a vendor's library does, in a read that only the test's end can wake.
"""

import threading
import time

import pytest
import torch

from wattbench.measure.live.device import LiveDevice, LiveTarget
from wattbench.measure.live.monitor import LiveMonitor
from wattbench.measure.meters import (
    DeviceId,
    DeviceStatus,
    Meter,
    MeterSource,
    MeterUnavailableError,
    Offer,
    probe_all,
)
from wattbench.measure.meters.bounded import NoAnswerError, within
from wattbench.measure.meters.refresh import watch_meter
from wattbench.measure.recording.environment import capture, identify
from wattbench.measure.recording.instrument import Instrument
from wattbench.measure.recording.sampler import Sampler

from ...waiting import until

CPU = torch.device("cpu")
MODULES = ("measure.meters.bounded", "measure.recording.sampler", "measure.recording.reader")
CHANNELS = ("energy", "power", "vram", "status")


@pytest.fixture
def end():
    """Set when the test is over, so that no thread stays blocked after it."""
    event = threading.Event()
    yield event
    event.set()


class SilentMeter(Meter):
    """100 W; from the ``after``-th read on the channels of ``silent`` block until ``end``."""

    name, scope, poll_period_s = "silent:0", "gpu", 0.005

    def __init__(self, end, silent, after=0, on_silence=lambda: None):
        self.end, self.silent, self.after = end, silent, after
        self.on_silence = on_silence
        self.reads = dict.fromkeys(CHANNELS, 0)
        self.was_closed = False

    def read(self, channel):
        self.reads[channel] += 1
        if channel in self.silent and self.reads[channel] > self.after:
            self.on_silence()
            self.end.wait()

    def read_energy_j(self):
        self.read("energy")
        return 100.0 * time.perf_counter()

    def read_power_w(self):
        self.read("power")
        return 100.0

    def read_vram_bytes(self):
        self.read("vram")
        return 1000

    def read_status(self):
        self.read("status")
        return DeviceStatus(temperature_c=50.0)

    def close(self):
        self.was_closed = True


def open_as(monkeypatch, *meters):
    """What ``open_meter`` answers, one after the other."""
    answers = iter(meters)
    monkeypatch.setattr("wattbench.measure.recording.reader.open_meter", lambda *_: next(answers)())


def run_of(instrument):
    with instrument.record() as (window, recording), window.phase("denoise"):
        time.sleep(0.1)
    return recording


@pytest.mark.parametrize(
    ("channel", "after"),
    [("energy", 0), ("energy", 3), ("power", 0), ("power", 3), ("vram", 1), ("status", 0)],
)
def test_the_reading_is_blank_and_the_next_run_tries_again(monkeypatch, end, channel, after):
    silent = SilentMeter(end, {channel}, after)
    open_as(monkeypatch, lambda: silent, lambda: SilentMeter(end, ()))
    with Instrument(CPU, identify(CPU)) as instrument:
        first = run_of(instrument)
        second = run_of(instrument)
    assert [phase.energy for phase in first.phases] == [None]
    assert "the meter did not answer" in first.energy_note
    (phase,) = second.phases
    assert phase.energy.energy_j == pytest.approx(100 * phase.duration_s, rel=0.2)
    assert not silent.was_closed, "closing it would wait for it again"


def test_a_meter_that_stays_silent_is_tried_before_each_run(monkeypatch, end):
    monkeypatch.setattr("wattbench.measure.recording.reader.REOPEN_S", 0.2)
    silent = SilentMeter(end, {"energy"})
    open_as(monkeypatch, lambda: silent, end.wait, end.wait)
    with Instrument(CPU, identify(CPU)) as instrument:
        notes = [run_of(instrument).energy_note for _ in range(3)]
    assert all("the meter did not answer" in note for note in notes)
    assert "silent:0" in notes[1]


def test_a_meter_that_cannot_be_opened_is_no_meter(monkeypatch, end):
    monkeypatch.setattr("wattbench.measure.recording.reader.OPEN_S", 0.2)
    open_as(monkeypatch, end.wait, end.wait)
    with Instrument(CPU, identify(CPU)) as instrument:
        recording = run_of(instrument)
    assert recording.phases[0].energy is None
    assert "the meter did not answer" in recording.energy_note
    with pytest.raises(MeterUnavailableError, match="did not answer"):
        Instrument(CPU, identify(CPU), "silent:0").__enter__()


class CancelledError(Exception):
    """What a host raises where the user has cancelled."""


def test_a_cancellation_ends_the_wait(monkeypatch, end):
    """With limits that would keep it for an hour."""
    for module in MODULES:
        for limit in ("ANSWER_S", "OPEN_S"):
            monkeypatch.setattr(f"wattbench.{module}.{limit}", 3600.0, raising=False)
    asked = threading.Event()
    open_as(monkeypatch, lambda: SilentMeter(end, {"energy"}, on_silence=asked.set))

    def check():
        if asked.is_set():
            raise CancelledError

    with pytest.raises(CancelledError):
        Instrument(CPU, identify(CPU), check=check).__enter__().record().__enter__()


def test_a_meter_that_is_lost_is_left_alone(end):
    meter = SilentMeter(end, {"energy"})
    sampler = Sampler(meter, None, lambda: 5)
    assert not sampler.wait_for_tick(0.0)
    assert sampler.is_lost
    reads = dict(meter.reads)
    with sampler:
        assert not sampler.wait_for_tick(60.0)
    assert meter.reads == reads
    assert sampler.samples.faults == ["the meter did not answer within 1 s"]


def test_what_a_call_raises_is_raised_where_it_was_asked_for():
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        within(60.0, fail)
    assert within(60.0, lambda: 3) == 3


def test_the_environment_does_not_wait(monkeypatch, end):
    class Silent(SilentMeter):
        def power_limit_w(self):
            self.end.wait()

    assert capture(identify(CPU), Silent(end, ()), "ComfyUI", "1").power_limit_w is None


def test_the_doctor_does_not_wait(monkeypatch, end):
    class Silent(MeterSource):
        key = "silent"

        def probe(self):
            end.wait()

        def open(self, selector):
            raise AssertionError(selector)

    class Other(Silent):
        key = "other"

        def probe(self):
            return [Offer("other:0", "a meter", True)]

    monkeypatch.setattr("wattbench.measure.meters.OPEN_S", 0.2)
    silent, other = probe_all([Silent(), Other()])
    assert not silent.available
    assert "did not answer" in silent.reason
    assert other.available
    with pytest.raises(NoAnswerError):
        watch_meter(SilentMeter(end, {"power"}), 0.1)


@pytest.mark.parametrize("is_opened", [False, True])
def test_the_live_monitor_says_so_and_comes_back(monkeypatch, end, is_opened):
    release, bound = threading.Event(), "wattbench.measure.live.monitor"
    for name in ("ANSWER_S", "OPEN_S"):
        monkeypatch.setattr(f"{bound}.{name}", 0.2)
    meter = SilentMeter(release, {"power"}, 1)

    def open_devices():
        if not is_opened:
            release.wait()
        return [LiveDevice(LiveTarget(DeviceId("cpu", 0, "a processor")), meter)]

    monitor = LiveMonitor(open_devices, lambda: None)

    def reasons():
        state = monitor.watch("test", 0.5)
        return [device.power_reason for device in state.devices] if state else []

    until(lambda: any("did not answer" in reason for reason in reasons()))
    state = monitor.watch("test", 0.5)
    assert [device.power_w for device in state.devices] == [None]
    assert [device.energy_j for device in state.devices] == [None]
    release.set()
    until(lambda: reasons() == [""])
    monitor.close()
