"""Profiles of steps from power samples alone, and how many steps have one."""

from dataclasses import replace

import pytest

from wattbench.measure.energy.phases import MOST_STEPS, step_profiles
from wattbench.records import PowerSample, Trace

STEP_S = 0.25


@pytest.fixture
def stepped(make_run):
    """Runs whose denoising has so many steps and draws a watt more in each; no counter."""

    def make(step_count, repeats=2, samples=True):
        run = make_run()
        phases = tuple(
            replace(
                phase,
                step_ends_s=tuple(phase.start_s + STEP_S * (n + 1) for n in range(step_count)),
                duration_s=STEP_S * step_count + 1.0,
            )
            if phase.name == "denoise"
            else phase
            for phase in run.phases
        )
        start_s = next(phase.start_s for phase in phases if phase.name == "denoise")
        power = [PowerSample(start_s + STEP_S * n, 100.0 + n) for n in range(step_count)]
        if samples:
            power.insert(0, PowerSample(0.0, 50.0))
        trace = Trace(power=tuple(power))
        return [replace(run, run_id=str(i), phases=phases, trace=trace) for i in range(repeats)]

    return make


@pytest.mark.parametrize("step_count", [1, 2, 30, MOST_STEPS])
def test_power_alone_gives_each_step_its_own_joules(stepped, step_count):
    runs = stepped(step_count)
    [profile] = step_profiles(runs)
    assert profile.runs == runs
    assert (profile.meter, profile.method) == ("nvml:0", "integrated")
    for durations, energies in zip(profile.duration_s, profile.energy_j, strict=True):
        assert durations == pytest.approx([STEP_S] * step_count)
        assert energies == pytest.approx([STEP_S * (100.0 + n) for n in range(step_count)])


@pytest.mark.parametrize("step_count", [0, MOST_STEPS + 1])
def test_no_steps_or_too_many_have_no_profile(stepped, step_count):
    assert step_profiles(stepped(step_count)) == []


def test_power_that_was_not_seen_from_the_start_gives_none(stepped):
    [late] = step_profiles(stepped(3, samples=False)) or [None]
    assert late is not None, "the first sample is at the start of the first step"
    runs = [
        replace(run, trace=Trace(power=run.trace.power[1:])) for run in stepped(3, samples=False)
    ]
    assert step_profiles(runs) == []


def test_runs_of_another_number_of_steps_are_left_out(stepped):
    """As often as not they were cut short; the most common number is the condition's."""
    odd = [replace(run, run_id=f"odd {run.run_id}") for run in stepped(3, repeats=1)]
    runs = stepped(4)
    [profile] = step_profiles([*odd, *runs])
    assert [run.run_id for run in profile.runs] == [run.run_id for run in runs]
