"""The live monitor, with replayed meters and its real thread."""

from __future__ import annotations

import threading
import time

import pytest

from wattbench.measure.live import LEAST_LAPSE_S, LiveMonitor
from wattbench.measure.live_device import LiveDevice, LiveTarget, open_devices
from wattbench.measure.meters import DeviceId, Meter, MeterReadError, open_meter

CPU = LiveTarget(DeviceId("cpu", 0, "a processor"))
POWER = "t_s,power_w,vram_bytes\n0,100,1000\n3600,100,1000\n"
COUNTER = "t_s,energy_j\n" + "".join(f"{i / 20},{i * 10}\n" for i in range(4000))
"""200 W, in ticks of 50 ms."""


class Jobs:
    """What runs now, as the host would tell."""

    running = None


@pytest.fixture
def monitor_of(tmp_path):
    """A function that makes a monitor over a trace, closed at the end."""
    made = []

    def make(text, jobs=None):
        path = tmp_path / "trace.csv"
        path.write_text(text, encoding="utf-8")
        jobs = jobs or Jobs()

        def devices():
            return [LiveDevice(CPU, open_meter(f"replay:{path}", CPU.device))]

        made.append(LiveMonitor(devices, lambda: jobs.running))
        return made[-1]

    yield make
    for monitor in made:
        monitor.close()


def until(condition, timeout_s=10.0):
    deadline_s = time.perf_counter() + timeout_s
    while time.perf_counter() < deadline_s:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about in time")


def next_state(monitor, seen=0, interval_s=0.5):
    def newer():
        state = monitor.watch("test", interval_s)
        return state if state is not None and state.sequence > seen else None

    return until(newer)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "wattbench-live"]


def test_nothing_is_read_until_somebody_watches(monitor_of):
    monitor = monitor_of(POWER)
    assert threads() == []
    (device,) = next_state(monitor).devices
    assert len(threads()) == 1
    assert (device.power_w, device.power_source) == (100, "sensor")
    assert device.vram_used_bytes == 1000
    assert (device.provenance, device.scope) == ("simulated", "gpu")


def test_it_stops_when_the_last_one_leaves(monitor_of):
    monitor = monitor_of(POWER)
    next_state(monitor)
    monitor.watch("another", 1)
    monitor.leave("test")
    time.sleep(0.3)
    assert monitor.is_reading
    monitor.leave("another")
    until(lambda: not threads())
    assert not monitor.is_reading


def test_it_stops_when_nobody_calls_any_more(monitor_of):
    monitor = monitor_of(POWER)
    next_state(monitor)
    start_s = time.perf_counter()
    until(lambda: not threads())
    assert LEAST_LAPSE_S - 0.5 < time.perf_counter() - start_s < LEAST_LAPSE_S + 3


def test_it_starts_again(monitor_of):
    monitor = monitor_of(POWER)
    first = next_state(monitor)
    monitor.leave("test")
    until(lambda: not threads())
    assert monitor.watch("test", 1) is None, "an old reading is not shown as a new one"
    assert next_state(monitor).sequence > first.sequence


@pytest.mark.parametrize(
    ("text", "power_w"), [(POWER, 100), (COUNTER, 200)], ids=["power", "counter"]
)
def test_energy_of_a_job_is_the_meters(monitor_of, text, power_w):
    jobs = Jobs()
    monitor = monitor_of(text, jobs)
    next_state(monitor)
    start_s = time.perf_counter()
    jobs.running = "first"
    until(lambda: next_state(monitor).job)
    time.sleep(1.5)
    seen = next_state(monitor, next_state(monitor).sequence)
    assert seen.job.is_running
    jobs.running = None
    duration_s = time.perf_counter() - start_s
    ended = until(lambda: (s := next_state(monitor)) and not s.job.is_running and s)
    (device,) = ended.devices
    assert device.energy_method == "simulated"
    # Twice the error: on a busy machine this test's own borders are late too.
    assert device.energy_j == pytest.approx(power_w * duration_s, abs=2 * device.energy_error_j)
    assert 0 < device.energy_error_j < 0.2 * power_w * duration_s
    later = next_state(monitor, ended.sequence)
    assert later.devices[0].energy_j == device.energy_j, "an ended job uses no more"
    assert later.job.duration_s == pytest.approx(duration_s, abs=0.25)


def test_power_is_followed_between_two_readings(monitor_of):
    jobs = Jobs()
    monitor = monitor_of(POWER, jobs)
    first = next_state(monitor, interval_s=5)
    jobs.running = "short"
    time.sleep(2.5)
    jobs.running = None
    (device,) = next_state(monitor, first.sequence, interval_s=5).devices
    assert device.energy_j == pytest.approx(250, abs=2 * device.energy_error_j)


def test_a_counter_alone_gives_power_as_a_mean(monitor_of):
    monitor = monitor_of(COUNTER)
    first = next_state(monitor)
    assert first.devices[0].power_w is None
    assert first.devices[0].power_reason
    second = next_state(monitor, first.sequence)
    assert second.devices[0].power_source == "counter"
    assert second.devices[0].power_w == pytest.approx(200, rel=0.25)


def test_a_job_that_began_unseen_has_no_energy(monitor_of):
    jobs = Jobs()
    jobs.running = "early"
    (device,) = next_state(monitor_of(POWER, jobs)).devices
    assert device.energy_j is None
    assert device.energy_reason == "nobody watched when this job began"


def test_no_job_no_energy(monitor_of):
    (device,) = next_state(monitor_of(POWER)).devices
    assert device.energy_j is None
    assert device.energy_reason == "no job has run since watching began"


@pytest.mark.parametrize(
    ("text", "kept"), [(COUNTER, True), (POWER, False)], ids=["counter", "power"]
)
def test_a_job_that_outlasts_a_pause(monitor_of, text, kept):
    """The counter goes on counting; power that nobody read is not made up."""
    jobs = Jobs()
    monitor = monitor_of(text, jobs)
    next_state(monitor)
    jobs.running = "long"
    start_s = time.perf_counter()
    until(lambda: next_state(monitor).job)
    monitor.leave("test")
    until(lambda: not threads())
    time.sleep(2)
    (device,) = next_state(monitor).devices
    if kept:
        expected_j = 200 * (time.perf_counter() - start_s)
        assert device.energy_j == pytest.approx(expected_j, abs=60)
    else:
        assert device.energy_j is None
        assert "was not read" in device.energy_reason


def test_a_job_that_ended_unseen_has_no_energy(monitor_of):
    jobs = Jobs()
    monitor = monitor_of(COUNTER, jobs)
    next_state(monitor)
    jobs.running = "long"
    until(lambda: next_state(monitor).job)
    monitor.leave("test")
    until(lambda: not threads())
    jobs.running = None
    state = next_state(monitor)
    assert not state.job.is_running
    assert state.devices[0].energy_reason == "nobody watched when this job ended"


class Faulty(Meter):
    """300 W; a channel named in ``broken`` fails."""

    name, scope = "faulty", "gpu"

    def __init__(self, *broken):
        self.broken = set(broken)
        self.energy_j = 0.0

    def read_energy_j(self):
        self.energy_j += 30
        return self._answer("energy", self.energy_j)

    def read_power_w(self):
        return self._answer("power", 300.0)

    def read_vram_bytes(self):
        return self._answer("vram", 5)

    def close(self):
        pass

    def _answer(self, channel, value):
        if channel in self.broken:
            raise MeterReadError(f"no {channel}: the board fell off the bus")
        return value


def test_a_meter_that_fails_gives_a_reason_and_no_zero():
    device = LiveDevice(CPU, Faulty("energy", "power", "vram"))
    device.begin_job(0.0)
    reading = device.read(1.0)
    assert (reading.power_w, reading.energy_j, reading.vram_used_bytes) == (None, None, None)
    assert reading.power_reason == "no power: the board fell off the bus"
    assert "fell off the bus" in reading.energy_reason
    assert reading.vram_reason == "no vram: the board fell off the bus"
    assert not device.is_healthy


def test_a_failure_ends_the_energy_of_that_job_alone():
    meter = Faulty()
    device = LiveDevice(CPU, meter)
    device.begin_job(0.0)
    meter.broken = {"energy"}
    failed = device.read(0.1)
    assert (failed.power_w, failed.energy_j) == (300, None)
    meter.broken = set()
    assert device.read(0.2).energy_j is None, "what was missed is not made up"
    device.end_job(0.3)
    device.begin_job(0.4)
    assert device.read(0.5).energy_j == 30


def test_a_counter_without_power_keeps_the_energy():
    device = LiveDevice(CPU, Faulty("power"))
    device.begin_job(0.0)
    reading = device.read(0.1)
    assert (reading.energy_j, reading.power_w) == (30, None)


def test_memory_comes_from_the_next_source_where_the_meter_fails():
    target = LiveTarget(CPU.device, 10, lambda: 7)
    reading = LiveDevice(target, Faulty("vram")).read(0.0)
    assert (reading.vram_used_bytes, reading.vram_total_bytes) == (7, 10)
    assert reading.vram_reason == ""


def test_an_error_in_the_thread_does_not_last(monkeypatch):
    """The host's log has the error; a watcher who calls again starts a new thread."""
    outcomes = [RuntimeError("the driver is not there yet"), [LiveDevice(CPU, Faulty())]]
    logged = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: logged.append(hook.exc_value))

    def devices():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monitor = LiveMonitor(devices, lambda: None)
    assert next_state(monitor).devices[0].power_w == 300
    assert [str(error) for error in logged] == ["the driver is not there yet"]
    monitor.close()


def test_without_a_meter_there_is_a_reason(monkeypatch):
    monkeypatch.setenv("WATTBENCH_METER", "nonsense")
    (device,) = open_devices([CPU])
    reading = device.read(0.0)
    assert (reading.power_w, reading.energy_j, reading.vram_used_bytes) == (None, None, None)
    assert "no meter 'nonsense'" in reading.power_reason
    assert reading.energy_reason == reading.power_reason
    assert reading.vram_reason


def test_a_named_meter_is_shown_once(monkeypatch, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(POWER, encoding="utf-8")
    monkeypatch.setenv("WATTBENCH_METER", f"replay:{path}")
    targets = [LiveTarget(DeviceId("cuda", index)) for index in (1, 0)]
    first, second = (device.read(0.0) for device in open_devices(targets))
    assert first.power_w == 100
    assert second.power_w is None
    assert second.power_reason.endswith("is shown with cuda:1")


def test_the_cost_is_this_threads_and_its_watchers(monitor_of):
    monitor = monitor_of(POWER)
    next_state(monitor)
    monitor.charge(0.5)
    share = until(lambda: next_state(monitor).cost_share)
    assert 0.05 < share < 0.15, "half a second of CPU over five seconds is a tenth of a core"
    assert until(lambda: (s := next_state(monitor).cost_share) != share and s) < 0.05
