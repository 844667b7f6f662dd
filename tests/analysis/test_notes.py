"""Notes of runs are gathered by kind, and the protocol's own tests are noted."""

from dataclasses import replace

import pytest

from wattbench.analysis.notes import run_notes
from wattbench.analysis.protocol import protocol_notes
from wattbench.records import BoardState, PowerSample, Trace
from wattbench.report import runs_frame, table_of


def with_flags(make_run, *flags):
    return make_run(str(flags), board=BoardState(flags=flags))


def test_numbers_of_one_kind_become_a_range(make_run):
    runs = [
        with_flags(make_run, "throttled: sw_power_cap", "SM clock changed: 1830 to 1980 MHz"),
        with_flags(make_run, "throttled: sw_power_cap", "SM clock changed: 1845 to 1965 MHz"),
        with_flags(make_run, "throttled: sw_power_cap"),
    ]
    assert run_notes(runs_frame(runs)) == [
        "Board: throttled: sw_power_cap",
        "Board: SM clock changed: 1830..1845 to 1965..1980 MHz (2 of 3 runs)",
    ]


def test_a_run_with_two_notes_of_a_kind_is_one_run(make_run):
    both = "SM clock changed: 1 to 2 MHz", "SM clock changed: 2 to 3 MHz"
    runs = [with_flags(make_run, *both), make_run("b"), make_run("c")]
    assert run_notes(runs_frame(runs)) == [
        "Board: SM clock changed: 1..2 to 2..3 MHz (1 of 3 runs)"
    ]
    runs = [replace(run, run_id=f"{n}") for n, run in enumerate(runs[:1] * 3)]
    assert run_notes(runs_frame(runs)) == ["Board: SM clock changed: 1..2 to 2..3 MHz"]


def test_a_reason_that_two_columns_give_is_said_once(make_run):
    runs = [make_run("a", energy_note="no driver", vram_note="no driver")]
    assert run_notes(runs_frame(runs)) == ["Energy and VRAM: no driver"]


def test_signed_numbers_keep_their_sign(make_run):
    notes = [
        f"power is instantaneous (NVML field 186); integrated power differs by {percent} %"
        for percent in ("-7.1", "+6.2", "-5.5")
    ]
    frame = runs_frame([make_run(note, energy_note=note) for note in notes])
    assert run_notes(frame) == [
        "Energy: power is instantaneous (NVML field 186)",
        "Energy: integrated power differs by -7.1..+6.2 %",
    ]


def test_digits_of_names_are_no_numbers(make_run):
    notes = ["nvml:0 failed", "nvml:1 failed"]
    frame = runs_frame([make_run(note, energy_note=note) for note in notes])
    assert run_notes(frame) == [
        "Energy: nvml:0 failed (1 of 2 runs)",
        "Energy: nvml:1 failed (1 of 2 runs)",
    ]


def test_warm_ups_say_nothing_where_repeats_do(make_run):
    warmup = replace(with_flags(make_run, "throttled: hw_slowdown"), is_warmup=True)
    assert run_notes(runs_frame([warmup, make_run("a")])) == []
    assert run_notes(runs_frame([warmup])) == ["Board: throttled: hw_slowdown"]


def notes_of(runs):
    return protocol_notes(runs_frame(runs))


def repeats(make_run, durations, **changes):
    return [
        make_run(str(i), denoise_s=seconds, repeat=i, **changes)
        for i, seconds in enumerate(durations)
    ]


def test_a_drift_is_noted_with_its_p_value(make_run):
    notes = notes_of(repeats(make_run, [10.0 + 0.1 * i + 0.01 * (i % 3) for i in range(10)]))
    assert len(notes) == 2
    assert "it/s drifts by -0.9" in notes[0]
    assert "J/img drifts by +0.8" in notes[1]
    assert "(p = " in notes[0]


def test_neighbours_that_are_alike_are_noted(make_run):
    notes = notes_of(repeats(make_run, [10.0] * 5 + [10.5] * 8 + [10.0] * 5))
    assert len(notes) == 2
    assert "lag-1 autocorrelation 0." in notes[0]


@pytest.mark.parametrize(
    "durations", [[10.0 + 0.1 * (i % 2) for i in range(10)], [10.0] * 10, [10.0, 11.0, 12.0]]
)
def test_independent_or_few_repeats_are_not_noted(make_run, durations):
    assert notes_of(repeats(make_run, durations)) == []


def test_idle_power_that_changed_is_noted(make_run):
    idle = {"idle_power_before_w": 124.0, "idle_power_after_w": 135.0}
    notes = notes_of(repeats(make_run, [10.0, 10.1], **idle))
    assert len(notes) == 1
    assert "idle power was 124 W before and 135 W after the runs" in notes[0]
    same = {"idle_power_before_w": 124.0, "idle_power_after_w": 125.0}
    assert notes_of(repeats(make_run, [10.0, 10.1], **same)) == []


def sampled(count):
    """Readings of power within a run of 13 s, and one after it."""
    within = (PowerSample(0.1 * n, 200.0) for n in range(count))
    return Trace(power=(*within, PowerSample(99.0, 9.0)))


def test_sources_that_disagree_over_all_runs_are_noted(make_run):
    def run(name, ratio, count=15):
        made = make_run(name, trace=sampled(count))
        energy = replace(made.energy, counter_j=2400.0, integrated_j=2400.0 * ratio)
        return replace(made, energy=energy)

    (note,) = notes_of([run("a", 0.88), run("b", 0.92)])
    assert "integrated power is -10.0% off the counter" in note
    assert notes_of([run("a", 0.9), run("b", 1.08)]) == []
    assert notes_of([run("a", 0.6, 14), run("b", 0.6, 14)]) == [], "too few readings to tell"
    (note,) = notes_of([run("a", 0.6, 14), run("b", 0.9, 15)])
    assert "integrated power is -10.0% off the counter" in note


@pytest.mark.parametrize(("resolution_j", "notes"), [(19.0, 1), (21.0, 0)])
def test_a_difference_within_a_tick_of_a_short_run_is_no_disagreement(
    make_run, resolution_j, notes
):
    """15 % of 200 J are 30 J: 5 % is allowed anyway, and a tick of 20 J is the rest."""
    run = make_run("a", trace=sampled(20))
    energy = replace(run.energy, counter_j=200.0, integrated_j=230.0)
    phases = tuple(
        replace(p, energy=replace(p.energy, resolution_j=resolution_j)) for p in run.phases
    )
    assert len(notes_of([replace(run, energy=energy, phases=phases)])) == notes


def test_the_table_has_them_all(make_run):
    runs = repeats(make_run, [10.0 + 0.1 * i for i in range(10)], energy_note="watch out")
    notes = table_of(runs_frame(runs)).notes
    assert "Energy: watch out" in notes
    assert any("drifts by" in note for note in notes)
