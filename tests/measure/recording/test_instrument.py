"""The instrument end to end on the CPU: sampler thread, window, readings, on replayed meters."""

import threading
import time

import pytest
import torch

from wattbench.measure.meters import (
    DeviceStatus,
    Meter,
    MeterReadError,
    MeterUnavailableError,
    open_meter,
)
from wattbench.measure.meters.base import PcieLink
from wattbench.measure.recording.compiled import COMPILED
from wattbench.measure.recording.environment import identify
from wattbench.measure.recording.instrument import Instrument
from wattbench.measure.recording.sampler import Sampler

from ...waiting import until

CPU = torch.device("cpu")
READER = "wattbench.measure.recording.reader"


@pytest.fixture
def constant_power(tmp_path):
    """A recording of 200 W."""
    path = tmp_path / "constant.csv"
    path.write_text("t_s,power_w\n0,200\n60,200\n", encoding="utf-8")
    return f"replay:{path}"


@pytest.fixture
def ticking_counter(tmp_path, monkeypatch):
    """A recording of a counter at 100 W that ticks every 20 ms; its ticks are waited for."""
    monkeypatch.setattr(f"{READER}.TICK_TIMEOUT_S", 60.0)
    path = tmp_path / "counter.csv"
    rows = [f"{i * 0.02:.2f},{i * 2.0}" for i in range(3000)]
    path.write_text("\n".join(["t_s,energy_j", *rows]) + "\n", encoding="utf-8")
    return f"replay:{path}"


def record_phases(instrument):
    with instrument.record() as (window, recording):
        with window.phase("load"):
            time.sleep(0.05)
        with window.phase("denoise") as span:
            for _ in range(3):
                time.sleep(0.05)
                window.step(span)
            span.nfe = 3
    return recording


def test_power_is_integrated_over_each_phase(constant_power):
    with Instrument(CPU, identify(CPU), constant_power) as instrument:
        recording = record_phases(instrument)
    load, denoise = recording.phases
    assert [load.name, denoise.name] == ["load", "denoise"]
    for phase in recording.phases:
        assert phase.energy.energy_j == pytest.approx(200 * phase.duration_s, rel=0.01)
        assert phase.energy.method == "simulated"
    assert denoise.nfe == 3
    assert len(denoise.step_ends_s) == 3
    assert denoise.step_ends_s == tuple(sorted(denoise.step_ends_s))
    assert recording.trace.power
    assert recording.rss.peak_bytes > 10_000_000


@pytest.mark.parametrize(
    ("phase", "function"),
    [
        ("text_encode", lambda x: x * 2),
        ("denoise", lambda x: x * 3),
        ("decode", lambda x: x * 4),
    ],
)
def test_what_was_compiled_in_any_phase_is_a_fault(constant_power, phase, function):
    """A text encoder or a VAE that another pack compiles, for one."""
    double = torch.compile(function, backend="eager", dynamic=False)
    with Instrument(CPU, identify(CPU), constant_power) as instrument:
        found = []
        for _ in range(2):
            with instrument.record() as (window, recording), window.phase(phase):
                double(torch.ones(3))
            found.append(recording.faults)
    assert found == [(COMPILED,), ()]


def test_counter_is_shared_among_phases(ticking_counter):
    """A phase has the ticks within it, and parts of the two over its borders."""
    with Instrument(CPU, identify(CPU), ticking_counter) as instrument:
        recording = record_phases(instrument)
    assert all(phase.energy for phase in recording.phases), recording.energy_note
    ticks = recording.trace.counter
    for phase in recording.phases:
        start_s, end_s = phase.start_s, phase.start_s + phase.duration_s
        within_j = [tick.energy_j for tick in ticks if start_s <= tick.t_s <= end_s]
        before_j = max(tick.energy_j for tick in ticks if tick.t_s <= start_s)
        after_j = min(tick.energy_j for tick in ticks if tick.t_s >= end_s)
        least_j = within_j[-1] - within_j[0] if within_j else 0.0
        assert least_j - 1e-6 <= phase.energy.energy_j <= after_j - before_j + 1e-6
        assert phase.energy.energy_j > 0
    assert recording.phases[0].energy.resolution_j >= 2, "more where the sampler was held up"


def test_a_note_on_vram_stands_only_where_there_is_none(tmp_path):
    path = tmp_path / "vram.csv"
    path.write_text("t_s,power_w,vram_bytes\n0,200,1000\n60,200,1000\n", encoding="utf-8")
    with Instrument(CPU, identify(CPU), f"replay:{path}") as instrument:
        recording = record_phases(instrument)
    assert recording.vram.peak_bytes == 1000
    assert recording.vram_note == ""


def test_idle_power(constant_power):
    with Instrument(CPU, identify(CPU), constant_power) as instrument:
        assert instrument.idle_power(0.1) == pytest.approx(200)


def test_without_a_meter_energy_is_blank_with_the_reason(monkeypatch):
    monkeypatch.delenv("WATTBENCH_METER", raising=False)
    monkeypatch.setattr("wattbench.measure.meters.METERS", ())
    with Instrument(CPU, identify(CPU)) as instrument:
        if instrument.meter is not None:
            pytest.fail(f"no meter was to be found, got {instrument.meter.name}")
        recording = record_phases(instrument)
    assert [phase.energy for phase in recording.phases] == [None, None]
    assert "WATTBENCH_METER=estimate" in recording.energy_note
    assert "\n" not in recording.energy_note
    assert recording.vram is None
    assert "CPU" in recording.vram_note


def test_a_meter_asked_for_by_name_must_exist():
    with pytest.raises(MeterUnavailableError), Instrument(CPU, identify(CPU), "nvml:99"):
        pass


class FailingMeter(Meter):
    """Answers for a while, then breaks."""

    name, scope, poll_period_s = "failing:0", "gpu", 0.005

    def __init__(self):
        self.reads = 0

    def read_energy_j(self):
        self.reads += 1
        if self.reads > 5:
            raise MeterReadError("the board fell off the bus")
        return float(self.reads)

    def close(self):
        pass


def test_a_meter_that_fails_gives_no_energy(monkeypatch):
    monkeypatch.setattr(f"{READER}.TICK_TIMEOUT_S", 0.1)
    monkeypatch.setattr(f"{READER}.open_meter", lambda *_: FailingMeter())
    with Instrument(CPU, identify(CPU)) as instrument:
        recording = record_phases(instrument)
    assert [phase.energy for phase in recording.phases] == [None, None]
    assert "fell off the bus" in recording.energy_note


def test_a_meter_that_failed_is_opened_anew_for_the_next_run(monkeypatch, constant_power):
    monkeypatch.setattr(f"{READER}.TICK_TIMEOUT_S", 0.1)
    meters = iter([FailingMeter(), open_meter(constant_power, identify(CPU))])
    monkeypatch.setattr(f"{READER}.open_meter", lambda *_: next(meters))
    with Instrument(CPU, identify(CPU)) as instrument:
        first, second = record_phases(instrument), record_phases(instrument)
    assert [phase.energy for phase in first.phases] == [None, None]
    for phase in second.phases:
        assert phase.energy.energy_j == pytest.approx(200 * phase.duration_s, rel=0.01)


def test_a_meter_that_stays_lost_says_why_in_every_run(monkeypatch):
    def open_once(*_):
        monkeypatch.setattr(f"{READER}.open_meter", gone)
        return FailingMeter()

    def gone(*_):
        raise MeterUnavailableError("no such board")

    monkeypatch.setattr(f"{READER}.TICK_TIMEOUT_S", 0.1)
    monkeypatch.setattr(f"{READER}.open_meter", open_once)
    with Instrument(CPU, identify(CPU)) as instrument:
        notes = [record_phases(instrument).energy_note for _ in range(2)]
    assert notes == ["failing:0 failed during the run: the board fell off the bus"] * 2


class FrozenMeter(FailingMeter):
    """A counter that never moves."""

    name = "frozen:0"

    def read_energy_j(self):
        return 5.0


def test_a_frozen_counter_is_no_zero(monkeypatch):
    monkeypatch.setattr(f"{READER}.TICK_TIMEOUT_S", 0.02)
    monkeypatch.setattr(f"{READER}.open_meter", lambda *_: FrozenMeter())
    with Instrument(CPU, identify(CPU)) as instrument:
        recording = record_phases(instrument)
    assert [phase.energy for phase in recording.phases] == [None, None]
    assert "did not advance" in recording.energy_note


def test_phases_that_ended_are_kept_when_the_run_raises(constant_power):
    with (
        Instrument(CPU, identify(CPU), constant_power) as instrument,
        pytest.raises(RuntimeError, match="out of memory"),
        instrument.record() as (window, recording),
    ):
        with window.phase("text_encode"):
            time.sleep(0.01)
        with window.phase("denoise"):
            raise RuntimeError("out of memory")
    assert [phase.name for phase in recording.phases] == ["text_encode"]


def test_a_thread_reads_only_while_something_is_measured(constant_power):
    def is_reading():
        return any(thread.name == "wattbench-sampler" for thread in threading.enumerate())

    with Instrument(CPU, identify(CPU), constant_power) as instrument:
        for _ in range(2):
            assert not is_reading()
            with instrument.record():
                assert is_reading()
        assert not is_reading()


def test_sampler_keeps_reading_other_channels_when_one_fails():
    later = threading.Event()

    def read_vram():
        if sampler.samples.faults:
            later.set()
        return 123

    sampler = Sampler(FailingMeter(), read_vram, None)
    with sampler:
        assert later.wait(60)
    assert sampler.samples.faults == ["the board fell off the bus"]


class SpikyMeter(Meter):
    """100 W by its counter, if it has one; its power shows ``power_w``."""

    name, scope, poll_period_s = "spiky:0", "gpu", 0.005

    def __init__(self, power_w, has_counter=False):
        self.power_w, self.has_counter = power_w, has_counter

    def read_energy_j(self):
        return 100.0 * time.perf_counter() if self.has_counter else None

    def read_power_w(self):
        if self.power_w > 1000:
            raise MeterReadError("42000 W is more than it can draw")
        return self.power_w

    def close(self):
        pass


def test_a_power_that_stands_still_at_work_and_rest_is_no_measurement(monkeypatch):
    monkeypatch.setattr(f"{READER}.open_meter", lambda *_: SpikyMeter(434.4))
    with Instrument(CPU, identify(CPU)) as instrument:
        assert instrument.idle_power(0.6) == pytest.approx(434.4), "nothing has shown it yet"
        with instrument.record() as (window, recording), window.phase("denoise"):
            time.sleep(0.7)
        assert recording.phases[0].energy is None
        assert "434.4 W, to the last digit" in recording.energy_note
        assert instrument.idle_power(0.1) is None
        instrument.meter.power_w = 433.0
        assert instrument.idle_power(0.1) == pytest.approx(433.0)


def test_a_spike_beside_a_counter_leaves_the_counter(monkeypatch):
    monkeypatch.setattr(f"{READER}.open_meter", lambda *_: SpikyMeter(42_000.0, True))
    with Instrument(CPU, identify(CPU)) as instrument:
        recording = record_phases(instrument)
    for phase in recording.phases:
        assert phase.energy.energy_j == pytest.approx(100 * phase.duration_s, rel=0.2)
        assert phase.energy.integrated_j is None
    assert "42000 W is more than it can draw" in recording.energy_note


def test_a_spike_without_a_counter_is_blank(monkeypatch):
    monkeypatch.setattr(f"{READER}.open_meter", lambda *_: SpikyMeter(42_000.0))
    with Instrument(CPU, identify(CPU)) as instrument:
        recording = record_phases(instrument)
    assert [phase.energy for phase in recording.phases] == [None, None]
    assert "42000 W is more than it can draw" in recording.energy_note


class BoardMeter(Meter):
    """A board of 300 W that tells all there is to tell; busy for 3 parts in 4 of the time."""

    name, scope, poll_period_s = "board:0", "gpu", 0.01
    status_count = 0

    def read_power_w(self):
        return 300.0

    def read_vram_bytes(self):
        return 7

    def vram_total_bytes(self):
        return 24

    def power_limit_w(self):
        return 250.0

    def default_limit_w(self):
        return 350.0

    def read_status(self):
        self.status_count += 1
        return DeviceStatus(power_limit_w=250.0, gpu_utilisation=0.75, pcie_link=PcieLink(4, 16))

    def close(self):
        pass


def test_a_run_says_what_its_board_is(monkeypatch):
    meter = BoardMeter()
    monkeypatch.setattr(f"{READER}.open_meter", lambda *_: meter)
    monkeypatch.setattr("wattbench.measure.recording.sampler.STATUS_PERIOD_S", 0.0)
    with Instrument(CPU, identify(CPU)) as instrument, instrument.record() as (_, recording):
        before = meter.status_count
        until(lambda: meter.status_count > before + 1)
    board = recording.board
    assert (board.vram_total_bytes, board.power_default_limit_w) == (24, 350.0)
    assert (board.gpu_utilisation, board.pcie_link) == (0.75, "gen 4 x16")
    assert board.flags == ()


def test_a_run_between_two_reads_of_the_state_has_no_utilisation(monkeypatch):
    """What was read before it is of the time before it."""
    monkeypatch.setattr(f"{READER}.open_meter", lambda *_: BoardMeter())
    monkeypatch.setattr("wattbench.measure.recording.sampler.STATUS_PERIOD_S", 3600.0)
    with Instrument(CPU, identify(CPU)) as instrument:
        board = record_phases(instrument).board
    assert board.gpu_utilisation is None
    assert board.pcie_link == "gen 4 x16"
