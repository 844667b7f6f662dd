"""Numbers that do not follow from each other or from their samples are found."""

from dataclasses import replace

import pytest

from wattbench.records import BesideTrace, CounterSample, EnergyReading, Trace
from wattbench.sharing.verify import verify


def changed(run, **changes):
    """The run with another energy of its denoising."""
    phases = tuple(
        replace(phase, energy=replace(phase.energy, **changes))
        if phase.name == "denoise"
        else phase
        for phase in run.phases
    )
    return replace(run, phases=phases)


def test_sound_runs_have_no_fault(sampled_run):
    verdict = verify([sampled_run("a1"), sampled_run("a2", power_w=90.0)])
    assert verdict.faults == ()
    assert (verdict.run_count, verdict.energy_count, verdict.recomputed) == (2, 2, 2)


def test_a_run_that_failed_has_nothing_to_compute(make_run):
    verdict = verify([make_run("a1", error="out of memory", energy=None, phases=())])
    assert (verdict.energy_count, verdict.recomputed, verdict.faults) == (0, 0, ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: replace(r, energy=replace(r.energy, energy_j=2000.0)), "and that of its phases"),
        (lambda r: changed(r, integrated_j=1900.0), "denoise took 2000 J by its power samples"),
        (lambda r: replace(r, wall_time_s=5.0), "a phase ends after"),
        (lambda r: changed(r, energy_j=-1.0), "denoise has an energy below 0"),
    ],
)
def test_a_changed_number_is_found(sampled_run, change, message):
    verdict = verify([change(sampled_run("a1"))])
    assert any(message in fault for fault in verdict.faults), verdict.faults
    assert all(fault.startswith("run a1: ") for fault in verdict.faults)


@pytest.mark.parametrize(("power_w", "count"), [(1049.0, 0), (1051.0, 1)])
def test_no_board_draws_three_times_its_limit(sampled_run, power_w, count):
    """Its limit is 350 W."""
    assert len(verify([sampled_run("a1", power_w=power_w)]).faults) == count


@pytest.mark.parametrize(("factor", "count"), [(1.0, 0), (1.04, 0), (0.96, 0), (1.2, 1), (0.8, 1)])
def test_a_counter_must_have_gained_what_is_stated(make_run, factor, count):
    """200 W by a counter that ticks every 0.1 s; twice its tick, 40 J of 2 400 J, is allowed."""
    run = make_run("a1")
    ticks = tuple(CounterSample(t / 10, 20.0 * t) for t in range(-5, 150))
    phases = tuple(
        replace(
            phase,
            energy=replace(
                phase.energy,
                energy_j=phase.energy.energy_j * factor,
                counter_j=phase.energy.energy_j * factor,
            ),
        )
        for phase in run.phases
    )
    energy = replace(run.energy, energy_j=run.energy.energy_j * factor)
    run = replace(run, phases=phases, energy=energy, trace=Trace(counter=ticks), wall_time_s=13.5)
    verdict = verify([run])
    assert len([fault for fault in verdict.faults if "its counter gained" in fault]) == count
    assert verdict.recomputed == 1


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_energies_that_no_source_has_are_found_even_where_they_add_up(sampled_run, factor):
    """All of them and their sum changed alike; what the samples gave was left as it was."""
    run = sampled_run("a1")
    phases = tuple(
        replace(p, energy=replace(p.energy, energy_j=p.energy.energy_j * factor))
        for p in run.phases
    )
    energy = replace(run.energy, energy_j=run.energy.energy_j * factor)
    faults = verify([replace(run, phases=phases, energy=energy)]).faults
    assert len([f for f in faults if "that neither its counter nor its power has" in f]) == 4


def test_samples_that_do_not_reach_back_are_not_called_recomputed(sampled_run):
    run = sampled_run("a1")
    late = tuple(sample for sample in run.trace.power if sample.t_s > 5)
    verdict = verify([run, replace(run, run_id="a2", trace=Trace(power=late))])
    assert (verdict.energy_count, verdict.recomputed, verdict.faults) == (2, 1, ())


def test_a_run_without_samples_is_not_called_recomputed(make_run):
    assert verify([make_run("a1")]).recomputed == 0


def beside(run, power_w=50.0, counted=1.0, keeps=True):
    """The run with a package's meter that ticks every 10 ms; it states so many times its ticks."""
    ticks = tuple(CounterSample(t / 100, power_w * t / 100) for t in range(-50, 1500))
    phases = tuple(
        replace(phase, beside=(package(phase.duration_s, power_w * counted),))
        for phase in run.phases
    )
    traces = (BesideTrace("rapl:package", Trace(counter=ticks)),) if keeps else ()
    names = ("rapl:package",)
    return replace(run, phases=phases, beside_meters=names, beside_traces=traces)


def package(duration_s, power_w):
    joules = power_w * duration_s
    return EnergyReading(
        joules, duration_s, "rapl:package", "package", "counter", 1.0, 100, counter_j=joules
    )


@pytest.mark.parametrize(("counted", "count"), [(1.0, 0), (1.04, 0), (1.2, 1), (0.8, 1)])
@pytest.mark.parametrize("is_alone", [False, True])
def test_a_meter_beside_is_held_against_its_own_samples(sampled_run, counted, count, is_alone):
    """Also where the run's own meter gave nothing."""
    run = beside(sampled_run("a1"), counted=counted)
    if is_alone:
        phases = tuple(replace(phase, energy=None) for phase in run.phases)
        run = replace(run, energy=None, phases=phases, trace=Trace())
    verdict = verify([run])
    assert len(verdict.faults) == count
    assert all("its counter by rapl:package gained" in fault for fault in verdict.faults)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_run_is_computed_anew_where_every_meter_is(sampled_run, keeps):
    verdict = verify([beside(sampled_run("a1"), keeps=keeps)])
    assert (verdict.energy_count, verdict.recomputed, verdict.faults) == (1, int(keeps), ())
