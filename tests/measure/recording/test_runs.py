"""Recordings become runs, and a figure that lacks a part is blank with the reason."""

from dataclasses import replace

import pytest

from wattbench.measure.energy.totals import total_energy
from wattbench.measure.recording.instrument import Recording
from wattbench.measure.recording.runs import measured_run, new_run
from wattbench.records import CounterSample, MemoryReading, Phase, Trace

from ...made_runs import CONDITION, ENVIRONMENT, make_phases, reading


def join(*recordings):
    return measured_run(new_run(CONDITION, ENVIRONMENT, seed=1, visit=1), recordings)


def test_parts_are_put_in_order_of_time():
    encode = Recording("t0", 100.0, 101.0, phases=(Phase("text_encode", 0.2, 0.5, reading(0.5)),))
    denoise = Recording(
        "t1", 103.0, 114.0, phases=(Phase("denoise", 0.5, 10.0, reading(10.0), (1.0, 2.0), 2),)
    )
    decode = Recording("t2", 115.0, 117.0, phases=(Phase("decode", 0.1, 1.5, reading(1.5)),))
    run = join(decode, encode, denoise)
    assert [(phase.name, phase.start_s) for phase in run.phases] == [
        ("text_encode", 0.2),
        ("denoise", 3.5),
        ("decode", 15.1),
    ]
    assert run.phases[1].step_ends_s == (4.0, 5.0)
    assert run.started_at == "t0"
    assert run.wall_time_s == 17.0
    assert run.energy.energy_j == pytest.approx(200 * 12.0)


def test_memory_and_traces_are_joined():
    first = Recording("a", 0.0, 1.0, make_phases(), vram=MemoryReading(10, 8.0, "driver", 1))
    second = Recording("b", 5.0, 6.0, (), vram=MemoryReading(30, 20.0, "driver", 3))
    first.trace = Trace(counter=(CounterSample(0.5, 1.0),))
    second.trace = Trace(counter=(CounterSample(0.5, 2.0),))
    run = join(first, second)
    assert run.vram == MemoryReading(30, 17.0, "driver", 4)
    assert run.trace.counter == (CounterSample(0.5, 1.0), CounterSample(5.5, 2.0))


def test_nothing_recorded_is_refused():
    with pytest.raises(ValueError, match="no recording"):
        join()


def test_energy_leaves_loading_out():
    energy, note = total_energy(make_phases())
    assert energy.energy_j == pytest.approx(200 * 12.0)
    assert energy.duration_s == pytest.approx(12.0)
    assert note == ""


def test_no_energy_per_image_where_a_part_was_not_measured():
    without_decode = [phase for phase in make_phases() if phase.name != "decode"]
    energy, note = total_energy(without_decode)
    assert energy is None
    assert "decode not measured" in note


def test_no_energy_where_one_phase_has_none():
    phases = [
        replace(phase, energy=None) if phase.name == "decode" else phase for phase in make_phases()
    ]
    energy, note = total_energy(phases)
    assert energy is None
    assert "missing" in note


def test_meters_are_not_mixed():
    phases = [
        replace(phase, energy=reading(1.0, meter="estimate")) if phase.name == "decode" else phase
        for phase in make_phases()
    ]
    energy, note = total_energy(phases)
    assert energy is None
    assert "different meters" in note


@pytest.mark.parametrize(("seconds", "told"), [(0.12, ""), (0.13, "upscaling (0.13 s)")])
def test_work_that_no_phase_is_for_is_passed_over_up_to_a_hundredth(seconds, told):
    """The phases of :func:`make_phases` compute for 12 s."""
    run = join(Recording("a", 0.0, 15.0, make_phases(), unmeasured_s={"upscaling": seconds}))
    assert run.unmeasured == told
    assert (run.energy is None) == bool(told)
    assert (f"nobody measured {told}" in run.energy_note) == bool(told)


def test_unmeasured_seconds_of_parts_are_added():
    parts = [
        Recording("a", 0.0, 15.0, make_phases(), unmeasured_s={"upscaling": 1.0}),
        Recording("b", 20.0, 21.0, (), unmeasured_s={"VAE encoding": 2.5, "upscaling": 1.0}),
    ]
    assert join(*parts).unmeasured == "VAE encoding (2.5 s), upscaling (2 s)"
