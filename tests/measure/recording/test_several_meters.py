"""Several meters of one run: each of a scope of its own, every counter with one reader."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch

from wattbench.measure.energy.attribution import Interval, share_ticks
from wattbench.measure.meters import (
    METERS,
    DeviceId,
    MeterReadError,
    MeterUnavailableError,
    named_meters,
    open_meter,
    split_meters,
)
from wattbench.measure.protocol.journal import dumps, read
from wattbench.measure.recording.environment import identify
from wattbench.measure.recording.instrument import Instrument
from wattbench.measure.recording.runs import measured_run
from wattbench.measure.recording.samples import around
from wattbench.sharing.verify import verify

CPU = torch.device("cpu")
RANGE_UJ = 262143328850
PACKAGE_W, DRAM_W = 50.0, 8.0
PHASES = ("text_encode", "denoise", "decode")


@pytest.fixture
def rapl(tmp_path, monkeypatch):
    """Two packages and a memory whose counters rise by a known power; the folder of the zones."""
    monkeypatch.delenv("WATTBENCH_METER", raising=False)
    zones = tmp_path / "class" / "powercap"
    for zone, name in (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:0:0", "dram"),
    ):
        (zones / zone).mkdir(parents=True)
        (zones / zone / "name").write_text(name)
        (zones / zone / "max_energy_range_uj").write_text(str(RANGE_UJ))
    source = next(source for source in METERS if source.key == "rapl")
    monkeypatch.setattr(source, "_sysfs", tmp_path)
    powers_w = {"intel-rapl:0": 0.6 * PACKAGE_W, "intel-rapl:1": 0.4 * PACKAGE_W}

    def read_int(path):
        power_w = powers_w.get(path.parent.name, DRAM_W)
        return int(power_w * time.perf_counter() * 1e6) % RANGE_UJ

    monkeypatch.setattr("wattbench.measure.meters.rapl.read_int", read_int)
    return zones


@pytest.fixture
def board(tmp_path):
    """A recording of a board of 200 W, whose file has a plus sign in its name."""
    path = tmp_path / "board+auto.csv"
    path.write_text("t_s,power_w\n0,200\n60,200\n", encoding="utf-8")
    return f"replay:{path}"


def recorded(spec):
    with Instrument(CPU, identify(CPU), spec) as instrument:
        with instrument.record() as (window, recording):
            for name in PHASES:
                with window.phase(name):
                    time.sleep(0.05)
        return recording


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("auto", ["auto"]),
        ("auto+rapl", ["auto", "rapl"]),
        (" nvml:0 + rapl:dram ", ["nvml:0", "rapl:dram"]),
        ("replay:/a+b.csv+rapl:package", ["replay:/a+b.csv", "rapl:package"]),
        ("replay:/a+rapl.csv", ["replay:/a+rapl.csv"]),
        ("auto+", ["auto+"]),
    ],
)
def test_a_list_is_split_where_a_meter_begins(spec, parts):
    assert split_meters(spec) == parts


def test_rapl_is_all_that_it_counts(rapl, monkeypatch):
    assert named_meters("auto+rapl") == ["auto", "rapl:package", "rapl:dram"]
    monkeypatch.setenv("WATTBENCH_METER", "nvml:0+rapl:dram")
    assert named_meters("auto") == ["auto", "rapl:dram"]
    assert named_meters("estimate+auto") == ["estimate", "auto", "rapl:dram"]
    monkeypatch.setenv("WATTBENCH_METER", "rapl")
    assert named_meters("auto") == ["rapl:package", "rapl:dram"]


def test_where_one_meter_is_shown_the_first_of_a_list_is_it(rapl, board, monkeypatch):
    monkeypatch.setenv("WATTBENCH_METER", f"{board}+rapl")
    assert open_meter("auto", DeviceId("cpu")).name == board
    with pytest.raises(MeterUnavailableError, match="is a list; name one meter here"):
        open_meter("rapl:package+rapl:dram", DeviceId("cpu"))


def test_each_scope_has_its_own_energy_and_the_boards_is_the_boards(rapl, board):
    recording = recorded(f"{board}+rapl")
    assert recording.beside_meters == ("rapl:package", "rapl:dram")
    for phase in recording.phases:
        assert phase.energy.energy_j == pytest.approx(200 * phase.duration_s, rel=0.01)
        assert (phase.energy.meter, phase.energy.scope) == (board, "gpu")
        beside = {reading.scope: reading.energy_j for reading in phase.beside}
        assert beside == {
            "dram": pytest.approx(DRAM_W * phase.duration_s, rel=0.01),
            "package": pytest.approx(PACKAGE_W * phase.duration_s, rel=0.01),
        }


@pytest.mark.parametrize("parts", [1, 2])
def test_the_energies_of_every_meter_follow_from_what_the_journal_keeps(
    rapl, board, parts, make_run
):
    recordings = [recorded(f"{board}+rapl") for _ in range(parts)]
    run = read(f"{dumps(measured_run(make_run(), recordings))}\n".encode()).runs[0]
    assert [beside.meter for beside in run.beside_traces] == ["rapl:package", "rapl:dram"]
    for number, (beside, watts) in enumerate(
        zip(run.beside_traces, (PACKAGE_W, DRAM_W), strict=True)
    ):
        assert not beside.trace.power
        for phase in run.phases:
            span = Interval(phase.name, phase.start_s, phase.start_s + phase.duration_s)
            ticks = around(beside.trace.counter, span.start_s, span.end_s)
            [found_j] = share_ticks(ticks, [span], beside.trace.tick_error_s)
            assert found_j == pytest.approx(phase.beside[number].energy_j, rel=0.02)
            assert found_j == pytest.approx(watts * phase.duration_s, rel=0.02)
    verdict = verify([run])
    assert (verdict.recomputed, verdict.faults) == (1, ())
    changed = replace(
        run,
        beside_traces=(replace(run.beside_traces[0], trace=doubled(run)), *run.beside_traces[1:]),
    )
    assert any("its counter by rapl:package gained" in fault for fault in verify([changed]).faults)


def doubled(run):
    trace = run.beside_traces[0].trace
    return replace(trace, counter=tuple(s._replace(energy_j=2 * s.energy_j) for s in trace.counter))


def test_a_counter_has_one_reader_however_often_it_is_named(rapl):
    """On a CPU ``auto`` is ``rapl:package`` itself."""
    recording = recorded("auto+rapl+rapl:package")
    assert recording.phases[0].energy.meter == "rapl:package"
    assert recording.beside_meters == ("rapl:dram",)


def test_two_meters_of_one_scope_are_refused(rapl, board):
    other = board.replace("board+auto", "other")
    (rapl.parents[1] / "other.csv").write_text("t_s,power_w\n0,200\n60,200\n", encoding="utf-8")
    with pytest.raises(MeterUnavailableError, match="both measure the scope 'gpu'") as refusal:
        recorded(f"{board}+rapl:dram+{other}")
    assert board in str(refusal.value)
    assert other in str(refusal.value)


def test_a_meter_beside_that_does_not_exist_is_refused_and_the_first_one_closed(rapl, board):
    before = set(threading.enumerate())
    with pytest.raises(MeterUnavailableError, match="there is no rapl:psys"):
        recorded(f"{board}+rapl:psys")
    assert not [thread for thread in threading.enumerate() if thread not in before]


def test_without_a_meter_of_its_own_a_run_still_has_the_others(rapl):
    for name in ("intel-rapl:0", "intel-rapl:1"):
        (rapl / name / "name").write_text("psys")
    recording = recorded("auto+rapl:dram")
    for phase in recording.phases:
        assert phase.energy is None
        assert [reading.scope for reading in phase.beside] == ["dram"]
    assert "no meter measures" in recording.energy_note


def test_a_meter_beside_that_fails_is_blank_with_its_reason_and_alone(rapl, board, monkeypatch):
    reads = []
    from wattbench.measure.meters import rapl as module

    read_int = module.read_int

    def failing(path):
        if path.parent.name == "intel-rapl:0:0":
            reads.append(path)
            if len(reads) > 3:
                raise MeterReadError("the file has gone")
        return read_int(path)

    monkeypatch.setattr(module, "read_int", failing)
    recording = recorded(f"{board}+rapl")
    for phase in recording.phases:
        assert phase.energy.energy_j == pytest.approx(200 * phase.duration_s, rel=0.01)
        assert [reading.scope for reading in phase.beside] == ["package"]
    assert "rapl:dram failed during the run: the file has gone" in recording.energy_note


IN_A_PROCESS = """
import json, sys, time
from pathlib import Path
import torch
from wattbench.measure.meters import METERS, rapl
from wattbench.measure.recording.environment import identify
from wattbench.measure.recording.instrument import Instrument
source = next(source for source in METERS if source.key == "rapl")
source._sysfs = Path(sys.argv[1])
rapl.read_int = lambda path: int(25e6 * time.perf_counter()) % 262143328850
cpu = torch.device("cpu")
with Instrument(cpu, identify(cpu), "nvml:0+rapl:package") as instrument:
    with instrument.record() as (window, recording), window.phase("denoise"):
        time.sleep(1.5)
[phase] = recording.phases
readings = [phase.energy, *phase.beside]
print(json.dumps([[r.meter, r.scope, r.energy_j / phase.duration_s] for r in readings]))
"""


def test_a_simulated_board_and_its_packages(rapl, simulated_nvml):
    """A counter that ticks ten times a second beside one that never stands still.

    A tick is 7 % of what is measured: so much is off where the machine holds a reading up.
    """
    script = f"origin {time.perf_counter() - 10}\ngpu\nname Simulated\nuuid GPU-1\n"
    environment = simulated_nvml(f"{script}counter_mj 1000\npower -100 300\n")
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(rapl.parents[1])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        ["nvml:0", "gpu", pytest.approx(300, rel=0.07)],
        ["rapl:package", "package", pytest.approx(50, rel=0.07)],
    ]
