"""What a board cannot have answered is an error, just outside of each bound and not just inside."""

from __future__ import annotations

import dataclasses
import math

import pytest

from wattbench.measure.meters import DeviceId, DeviceStatus, Meter, MeterReadError, open_meter
from wattbench.measure.meters.hwmon import HwmonSource
from wattbench.measure.meters.plausible import (
    HEADROOM,
    NO_LIMIT_W,
    REFRESH_S,
    STILL_S,
    WATCHED_S,
    PlausibleMeter,
    StillPower,
)
from wattbench.records import PowerSample

from ...simulated_board import SimulatedTime

BOARD = """
gpu
uuid GPU-1
name Simulated
pci 0:1:0
counter_mj 1000000
power 0 100
limit_mw 350000
memory 24000000000 0 1000000000
"""
TRIES = """
meter = open_meter("nvml:0", DeviceId("cpu"))
def each(read, times):
    found = []
    for t in times:
        at(t)
        found.append(tries(read))
    return found
"""
BOUND_W = HEADROOM * 350


@pytest.mark.parametrize("field", ["nvmlDeviceGetFieldValues", "nvmlDeviceGetPowerUsage"])
@pytest.mark.parametrize(
    ("power_w", "is_believed"), [(BOUND_W - 1, True), (BOUND_W + 1, False), (42_000, False)]
)
def test_power_beyond_the_boards_limit(with_nvml, field, power_w, is_believed):
    script = f"{BOARD}power 10 {power_w}\npower 12 100\n"
    if field == "nvmlDeviceGetPowerUsage":
        script += "unsupported nvmlDeviceGetFieldValues\n"
    before, spike, after = with_nvml(
        script, TRIES + "reply(each(meter.read_power_w, (5, 11.95, 20)))"
    )
    assert (before, after) == (pytest.approx(100), pytest.approx(100))
    if is_believed:
        assert spike == pytest.approx(power_w if "Field" in field else spike)
    elif "Field" in field or power_w > 2000:
        assert "3 times the board's highest limit of 350 W" in spike


def test_a_limit_that_was_raised_meanwhile_is_asked_for_again():
    meter = Scripted(power_w=[100.0, 400.0, 400.0], limits_w=[100.0, 200.0])
    believed = PlausibleMeter(meter)
    assert [believed.read_power_w() for _ in range(3)] == [100.0, 400.0, 400.0]


class Scripted(Meter):
    """Answers what a test says, one value after the other, and the last one for ever."""

    name, scope = "scripted:0", "gpu"

    def __init__(self, **answers):
        self._answers = {name: list(values) for name, values in answers.items()}

    def _next(self, name):
        values = self._answers.get(name, [None])
        return values.pop(0) if len(values) > 1 else values[0]

    def read_energy_j(self):
        return self._next("energy_j")

    def read_power_w(self):
        return self._next("power_w")

    def read_vram_bytes(self):
        return self._next("vram_bytes")

    def power_limit_w(self):
        return self._next("limits_w")

    def read_status(self):
        return DeviceStatus(temperature_c=self._next("temperature_c"), sm_clock_hz=1e9)

    def close(self):
        pass


@pytest.mark.parametrize("power_w", [math.nan, math.inf, -1.0, NO_LIMIT_W + 1, 0xFFFFFFFF / 1000])
def test_no_board_draws_that(power_w):
    with pytest.raises(MeterReadError):
        PlausibleMeter(Scripted(power_w=[power_w])).read_power_w()
    assert PlausibleMeter(Scripted(power_w=[NO_LIMIT_W])).read_power_w() == NO_LIMIT_W


@pytest.fixture
def clock(monkeypatch):
    clock = SimulatedTime()
    monkeypatch.setattr("wattbench.measure.meters.plausible.time", clock)
    return clock


@pytest.mark.parametrize(("share", "is_believed"), [(0.999, True), (1.001, False)])
def test_a_counter_that_jumps_stays_refused(clock, share, is_believed):
    """From the read before its last tick on, no more than the bound can have been drawn."""
    jump_j = share * HEADROOM * 350 * (0.3 + REFRESH_S)
    rises = [5.0, 5.0, 15.0, 15.0, 15.0 + jump_j, 15.0 + jump_j]
    believed = PlausibleMeter(Scripted(energy_j=rises, limits_w=[350.0]))
    found = []
    for _ in rises:
        clock.sleep(0.1)
        try:
            found.append(believed.read_energy_j())
        except MeterReadError as error:
            found.append(str(error))
    assert found[:4] == rises[:4]
    if is_believed:
        assert found[4:] == rises[4:]
    else:
        assert found[4] == found[5]
        assert "would be 1051 W, more than 3 times" in found[4]


def test_a_counter_that_is_refreshed_late_catches_up(clock):
    """A tick may come late and the next one in time, at the limit of the board."""
    values = [0.0, 35.0, 35.0, 70.0, 105.0]
    believed = PlausibleMeter(Scripted(energy_j=values, limits_w=[350.0]))
    for value, pause_s in zip(values, (0.1, 0.1, 0.19, 0.01, 0.1), strict=True):
        clock.sleep(pause_s)
        assert believed.read_energy_j() == value


def test_the_first_tick_may_have_begun_long_before(clock):
    """A counter that ticks once a second, first read just before its tick."""
    believed = PlausibleMeter(Scripted(energy_j=[10.0, 360.0], limits_w=[350.0]))
    believed.read_energy_j()
    clock.sleep(0.01)
    assert believed.read_energy_j() == 360.0


def test_after_a_pause_much_may_have_been_drawn(clock):
    believed = PlausibleMeter(Scripted(energy_j=[10.0, 10.0 + 350 * 3600], limits_w=[350.0]))
    believed.read_energy_j()
    clock.sleep(3600)
    assert believed.read_energy_j() == 10.0 + 350 * 3600


def test_a_counter_of_nothing_is_refused():
    with pytest.raises(MeterReadError, match="no energy"):
        PlausibleMeter(Scripted(energy_j=[math.nan])).read_energy_j()


def test_an_intel_counter_that_jumps_is_refused(sysfs, put_board, set_file):
    hwmon = put_board(
        "xe", "0000:05:00.0", energy1_input=5_000_000, energy1_label="card", power1_max=150_000_000
    )
    sources = (HwmonSource(sysfs),)
    meter = open_meter("hwmon:0000:05:00.0", DeviceId("xpu"), sources)
    assert meter.read_energy_j() == 5.0
    set_file(hwmon / "energy1_input", 3_700_000_000_000_000_000)
    with pytest.raises(MeterReadError, match="3 times the board's highest limit of 150 W"):
        meter.read_energy_j()
    again = open_meter("hwmon:0000:05:00.0", DeviceId("xpu"), sources)
    assert again.read_energy_j() == pytest.approx(3.7e12)


def test_what_a_status_cannot_say_is_blank():
    status = PlausibleMeter(Scripted(temperature_c=[math.nan])).read_status()
    assert status == DeviceStatus(sm_clock_hz=1e9)
    assert (
        dataclasses.asdict(PlausibleMeter(Scripted(temperature_c=[50.0])).read_status())[
            "temperature_c"
        ]
        == 50.0
    )


@pytest.mark.parametrize("used_bytes", [-1, 2**50])
def test_memory_that_no_board_has(used_bytes):
    with pytest.raises(MeterReadError, match="bytes in use"):
        PlausibleMeter(Scripted(vram_bytes=[used_bytes])).read_vram_bytes()


def still(power_w, seconds, start_s=0.0):
    count = round(seconds / 0.05)
    return [PowerSample(start_s + 0.05 * i, power_w) for i in range(count + 1)]


@pytest.mark.parametrize(
    ("work_s", "rest_s", "is_stuck"),
    [(STILL_S, STILL_S, True), (STILL_S - 0.05, 60, False), (60, STILL_S - 0.05, False)],
)
def test_power_that_is_the_same_at_work_and_at_rest(work_s, rest_s, is_stuck):
    watched = StillPower()
    watched.see(still(434.4, rest_s), is_work=False)
    watched.see(still(434.4, work_s, 100), is_work=True)
    assert ("434.4 W, to the last digit" in watched.fault) == is_stuck
    watched.see(still(434.5, 0.05, 200), is_work=True)
    assert not watched.fault, "it has changed after all"


def test_power_that_differs_by_a_digit_is_believed():
    watched = StillPower()
    watched.see(still(434.4, 60), is_work=False)
    watched.see(still(434.401, 60, 100), is_work=True)
    watched.see(still(434.4, 60, 200), is_work=False)
    assert not watched.fault


@pytest.mark.parametrize(("share", "is_believed"), [(1.0, True), (1.2, False), (1000.0, False)])
def test_a_counter_that_runs_too_fast_in_small_steps_is_refused(clock, share, is_believed):
    """Of one step of 5 ms alone a counter of milli-units would seem to be refreshed late."""
    power_w = share * HEADROOM * 350
    rises = [7.0 + 0.005 * power_w * n for n in range(600)]
    believed = PlausibleMeter(Scripted(energy_j=list(rises), limits_w=[350.0]))
    found = []
    for _ in rises:
        clock.sleep(0.005)
        try:
            found.append(believed.read_energy_j())
        except MeterReadError as error:
            assert "more than 3 times the board's highest limit" in str(error)
            break
    assert (found == rises) == is_believed
    assert is_believed or len(found) < WATCHED_S / 0.005
