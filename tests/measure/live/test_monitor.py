"""The live monitor, with replayed meters and its real thread."""

from __future__ import annotations

import threading

import pytest

from wattbench.measure.live.device import BORDER_ERROR_S, LiveDevice, LiveTarget, open_devices
from wattbench.measure.live.monitor import COST_WINDOW_S, LEAST_LAPSE_S, LiveMonitor
from wattbench.measure.meters import DeviceId, Meter, MeterReadError
from wattbench.measure.meters.replay import ReplayMeter, parse

from ...simulated_board import SimulatedTime
from ...waiting import until

CPU = LiveTarget(DeviceId("cpu", 0, "a processor"))
POWER = "t_s,power_w,vram_bytes\n0,100,1000\n3600,100,1000\n"
COUNTER = "t_s,energy_j\n" + "".join(f"{i / 20},{i * 10}\n" for i in range(4000))
"""200 W, in ticks of 50 ms."""

TICK_J = 10
LOOK_S = 0.125
"""How much simulated time passes from one look of the thread to the next."""


class Time(SimulatedTime):
    """With the CPU time of a thread, which is set by hand as well."""

    cpu_s = 0.0

    def thread_time(self):
        return self.cpu_s


class Watched:
    """A monitor with its real thread, in simulated time, and one who watches it."""

    def __init__(self, meter, clock):
        self.clock = clock
        self.running = None
        self.monitor = LiveMonitor(lambda: [LiveDevice(CPU, meter)], self._running_job)
        self._look_count = 0

    def begin(self, interval_s=0.5):
        """Begin to watch; the first reading."""
        self.interval_s = interval_s
        return first_state(self.monitor, interval_s)

    def look(self):
        """Let the thread look at what is now, and take note of it."""
        # The look that is under way may have begun before; the last of three is over with the next.
        enough = self._look_count + 3
        until(lambda: self._look_count >= enough)

    def see(self, after_s=0.5):
        """The reading after so many simulated seconds."""
        for _ in range(round(after_s / LOOK_S)):
            self.clock.sleep(LOOK_S)
            self.look()
        return self.monitor.watch("test", self.interval_s)

    def end(self):
        self.monitor.leave("test")
        until(lambda: not threads())

    def _running_job(self):
        self._look_count += 1
        return self.running


@pytest.fixture
def clock(monkeypatch):
    """The time that the monitor sees. Its thread looks quickly, so that no test waits long."""
    clock = Time()
    monkeypatch.setattr("wattbench.measure.live.monitor.time", clock)
    monkeypatch.setattr("wattbench.measure.live.monitor.TICK_S", 0.001)
    return clock


@pytest.fixture
def watched_of(clock):
    """A function that makes a monitor over a trace, closed at the end."""
    made = []

    def make(text):
        made.append(Watched(ReplayMeter("replay", parse(text), clock.perf_counter), clock))
        return made[-1]

    yield make
    for watched in made:
        watched.monitor.close()


def first_state(monitor, interval_s=0.5):
    return until(lambda: monitor.watch("test", interval_s))


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "wattbench-live"]


def test_nothing_is_read_until_somebody_watches(watched_of):
    watched = watched_of(POWER)
    assert threads() == []
    (device,) = watched.begin().devices
    assert len(threads()) == 1
    assert (device.power_w, device.power_source) == (100, "sensor")
    assert device.vram_used_bytes == 1000
    assert (device.provenance, device.scope) == ("simulated", "gpu")


def test_it_stops_when_the_last_one_leaves(watched_of):
    watched = watched_of(POWER)
    watched.begin()
    watched.monitor.watch("another", 1)
    watched.monitor.leave("test")
    watched.look()
    assert watched.monitor.is_reading
    watched.monitor.leave("another")
    until(lambda: not threads())
    assert not watched.monitor.is_reading


def test_it_stops_when_nobody_calls_any_more(watched_of, clock):
    watched = watched_of(POWER)
    watched.begin()
    clock.sleep(LEAST_LAPSE_S - LOOK_S)
    watched.look()
    assert watched.monitor.is_reading
    clock.sleep(2 * LOOK_S)
    until(lambda: not threads())


def test_it_starts_again(watched_of):
    watched = watched_of(POWER)
    first = watched.begin()
    watched.end()
    assert watched.monitor.watch("test", 1) is None, "an old reading is not shown as a new one"
    assert watched.begin().sequence > first.sequence


@pytest.mark.parametrize(
    ("text", "power_w", "tick_j"),
    [(POWER, 100, 0), (COUNTER, 200, TICK_J)],
    ids=["power", "counter"],
)
def test_energy_of_a_job_is_the_meters(watched_of, text, power_w, tick_j):
    watched = watched_of(text)
    watched.begin()
    watched.running = "first"
    watched.look()
    assert watched.see(1.5).job.is_running
    watched.running = None
    ended = watched.see()
    assert not ended.job.is_running
    assert ended.job.duration_s == 1.5 + LOOK_S, "it was seen to have ended at the next look"
    (device,) = ended.devices
    assert device.energy_method == "simulated"
    assert device.energy_j == pytest.approx(power_w * ended.job.duration_s, abs=tick_j)
    assert device.energy_error_j == pytest.approx(power_w * BORDER_ERROR_S, rel=0.1)
    later = watched.see()
    assert later.sequence > ended.sequence
    assert later.devices[0].energy_j == device.energy_j, "an ended job uses no more"
    assert later.job.duration_s == ended.job.duration_s


@pytest.mark.parametrize("gap_s", [LOOK_S, 1.0, 4.0])
def test_the_error_is_the_gap_between_the_looks(watched_of, clock, gap_s):
    """A thread that is held up while a job begins has missed as much of it."""
    watched = watched_of("t_s,energy_j\n" + "".join(f"{i / 20},{i * 10}\n" for i in range(4000)))
    watched.begin()
    watched.see(1.0)
    clock.sleep(gap_s)
    watched.running = "first"
    watched.look()
    (device,) = watched.see(2.0).devices
    missed_j = 200 * gap_s
    assert device.energy_error_j >= 200 * BORDER_ERROR_S * 0.9
    assert device.energy_error_j >= 0.9 * missed_j


def test_a_reading_comes_as_soon_as_somebody_wants_it(watched_of):
    """One who looks every ten seconds keeps nobody waiting."""
    watched = watched_of(POWER)
    first = watched.begin(interval_s=3600)
    watched.interval_s = 0.5
    watched.monitor.watch("eager", 0.5)
    assert watched.see(1.0).sequence > first.sequence


def test_power_is_followed_between_two_readings(watched_of):
    watched = watched_of(POWER)
    first = watched.begin(interval_s=5)
    watched.running = "short"
    watched.look()
    assert watched.see(2.5).sequence == first.sequence
    watched.running = None
    (device,) = watched.see(2.5).devices
    assert device.energy_j == pytest.approx(100 * (2.5 + LOOK_S))


def test_a_counter_alone_gives_power_as_a_mean(watched_of):
    watched = watched_of(COUNTER)
    first = watched.begin()
    assert first.devices[0].power_w is None
    assert first.devices[0].power_reason
    second = watched.see()
    assert second.devices[0].power_source == "counter"
    assert second.devices[0].power_w == pytest.approx(200, rel=0.1)


def test_a_job_that_began_unseen_has_no_energy(watched_of):
    watched = watched_of(POWER)
    watched.running = "early"
    (device,) = watched.begin().devices
    assert device.energy_j is None
    assert device.energy_reason == "nobody watched when this job began"


def test_no_job_no_energy(watched_of):
    (device,) = watched_of(POWER).begin().devices
    assert device.energy_j is None
    assert device.energy_reason == "no job has run since watching began"


@pytest.mark.parametrize(
    ("text", "kept"), [(COUNTER, True), (POWER, False)], ids=["counter", "power"]
)
def test_a_job_that_outlasts_a_pause(watched_of, clock, text, kept):
    """The counter goes on counting; power that nobody read is not made up."""
    watched = watched_of(text)
    watched.begin()
    watched.running = "long"
    watched.look()
    watched.end()
    clock.sleep(2)
    (device,) = watched.begin().devices
    if kept:
        assert device.energy_j == pytest.approx(200 * 2, abs=TICK_J)
    else:
        assert device.energy_j is None
        assert "was not read" in device.energy_reason


def test_a_job_that_ended_unseen_has_no_energy(watched_of):
    watched = watched_of(COUNTER)
    watched.begin()
    watched.running = "long"
    watched.look()
    watched.end()
    watched.running = None
    state = watched.begin()
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
    assert first_state(monitor).devices[0].power_w == 300
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


def test_the_cost_is_this_threads_and_its_watchers(watched_of, clock):
    watched = watched_of(POWER)
    watched.begin()
    watched.monitor.charge(0.5)
    clock.cpu_s += 0.25
    assert watched.see(4.5).cost_share is None
    assert watched.see().cost_share == pytest.approx((0.5 + 0.25) / COST_WINDOW_S)
    assert watched.see(COST_WINDOW_S).cost_share == 0, "it is that of the last five seconds"
