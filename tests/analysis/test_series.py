"""Charts show the rows of the summary, and nothing that was not measured."""

from dataclasses import replace

import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.report import runs_frame, table_of


def with_steps(run, *durations_s):
    """``run`` with steps of these durations in its denoising."""
    phases = []
    for phase in run.phases:
        ends_s, end_s = [], phase.start_s
        for duration_s in durations_s if phase.name == "denoise" else ():
            end_s += duration_s
            ends_s.append(end_s)
        phases.append(replace(phase, step_ends_s=tuple(ends_s)))
    return replace(run, phases=tuple(phases))


def series(*runs):
    return Analysis.of(runs).series


def test_one_row_holds_its_steps_and_repeats(make_run):
    runs = [
        with_steps(make_run("a", denoise_s=9.0), 1.0, 2.0),
        with_steps(make_run("b", denoise_s=11.0), 3.0, 4.0),
        with_steps(make_run("warm-up", is_warmup=True), 50.0, 50.0),
        make_run("failed", error="it broke", phases=(), energy=None),
    ]
    (row,) = series(*runs)
    assert row["step_times_s"] == [2.0, 3.0]
    speed, energy = row["repeats"]
    assert (speed["unit"], energy["unit"]) == ("img/s", "J/img")
    assert speed["values"] == pytest.approx([2 / 11, 2 / 13], rel=1e-4)
    assert energy["mean"] == pytest.approx(1200, rel=1e-4)
    assert energy["low"] < 1100 < 1300 < energy["high"]


def test_rows_are_those_of_the_table(make_run):
    other = replace(make_run().condition, model="other.safetensors")
    runs = [make_run("a"), make_run("b", condition=other), make_run("c", meter="rapl:0")]
    frame = runs_frame(runs)
    assert len(Analysis.of(runs).series) == len(table_of(frame).rows) == 3


def test_what_was_not_measured_has_no_series(make_run):
    run = make_run(energy=None, energy_note="no meter")
    run = replace(run, phases=tuple(replace(phase, energy=None) for phase in run.phases))
    (row,) = series(run)
    assert row["step_times_s"] == []
    (speed,) = row["repeats"]
    assert (speed["unit"], speed["low"], speed["high"]) == ("img/s", None, None)


def test_steps_of_different_number_have_no_mean(make_run):
    (row,) = series(with_steps(make_run("a"), 1.0, 2.0), with_steps(make_run("b"), 3.0))
    assert row["step_times_s"] == []


def test_only_failed_runs_leave_an_empty_row(make_run):
    (row,) = series(make_run(error="it broke", phases=(), energy=None))
    assert row == {"step_times_s": [], "repeats": []}
