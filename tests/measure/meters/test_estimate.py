"""The labelled CPU estimate: its label, its arithmetic and its refusals."""

from __future__ import annotations

import time

import psutil
import pytest

from wattbench.measure.meters import DeviceId, MeterUnavailableError, open_meter
from wattbench.measure.meters.estimate import EstimateSource, busy_s, tdp_from


@pytest.fixture
def no_setting(monkeypatch):
    monkeypatch.delenv("WATTBENCH_CPU_TDP_W", raising=False)


def test_it_says_that_it_is_an_estimate(no_setting):
    meter = EstimateSource().open("")
    assert meter.provenance == "estimated"
    assert meter.scope == "package"
    assert meter.note == "estimated: 65 W assumed × CPU load, not a measurement"
    assert meter.read_power_w() is None
    assert meter.read_vram_bytes() is None
    assert EstimateSource.opt_in


def test_energy_is_the_rated_power_of_the_busy_share(monkeypatch):
    monkeypatch.setenv("WATTBENCH_CPU_TDP_W", "100")
    meter = EstimateSource().open("")
    assert "100 W from WATTBENCH_CPU_TDP_W" in meter.note
    before_j, start_s = meter.read_energy_j(), time.process_time()
    while time.process_time() - start_s < 0.3:
        pass
    energy_j = meter.read_energy_j() - before_j
    own_share_j = 0.3 * 100 / psutil.cpu_count()
    assert energy_j >= own_share_j - 3 * meter.energy_resolution_j


def test_an_idle_span_costs_less_than_a_busy_one_could(monkeypatch):
    monkeypatch.setenv("WATTBENCH_CPU_TDP_W", "100")
    meter = EstimateSource().open("")
    start_s, before_j = time.perf_counter(), meter.read_energy_j()
    time.sleep(0.3)
    energy_j, elapsed_s = meter.read_energy_j() - before_j, time.perf_counter() - start_s
    all_cpus_j = 100 * elapsed_s + 3 * psutil.cpu_count() * meter.energy_resolution_j
    assert 0 <= energy_j <= all_cpus_j


def test_idle_time_is_not_busy_time():
    busy = busy_s()
    times = psutil.cpu_times()
    assert 0 < busy <= sum(times) - times.idle - getattr(times, "iowait", 0)


def test_resolution_is_one_clock_tick_of_one_cpu(monkeypatch):
    monkeypatch.setenv("WATTBENCH_CPU_TDP_W", "100")
    resolution_j = EstimateSource().open("").energy_resolution_j
    assert 0 < resolution_j <= 100 / psutil.cpu_count() / 50


@pytest.mark.parametrize("text", ["65 W", "0", "-5", "nan", "inf", "5000", "sixty"])
def test_a_bad_setting_is_named(monkeypatch, text):
    monkeypatch.setenv("WATTBENCH_CPU_TDP_W", text)
    with pytest.raises(MeterUnavailableError, match="WATTBENCH_CPU_TDP_W is "):
        open_meter("estimate", DeviceId("cpu"))
    (offer,) = EstimateSource().probe()
    assert not offer.available
    assert "WATTBENCH_CPU_TDP_W" in offer.reason
    assert "for example 65" in offer.remedy


def test_numbers_are_read_as_floats():
    assert tdp_from("12.5") == 12.5


def test_it_takes_no_selector(no_setting):
    with pytest.raises(MeterUnavailableError, match="takes no ':125'"):
        open_meter("estimate:125", DeviceId("cpu"))
