"""A run's energy from its phases: sums of what is alike, and blank with a reason otherwise."""

from dataclasses import replace

import pytest

from wattbench.measure.energy.totals import observed_energy, total_energy
from wattbench.records import EnergyReading, Phase


def phase(name, energy_j, duration_s, **changes):
    reading = EnergyReading(energy_j, duration_s, "nvml:0", "gpu", "counter", 20.0, 7, 1.5, 2.5)
    return Phase(name, 0.0, duration_s, replace(reading, **changes))


PHASES = (
    phase("load", 1000.0, 9.0),
    phase("text_encode", 10.0, 0.5, method="attributed", resolution_j=None),
    phase("denoise", 300.0, 10.0, resolution_j=25.0),
    phase("decode", 40.0, 1.5, method="attributed", resolution_j=30.0, sample_count=100),
)


def test_three_phases_are_summed_and_loading_is_not():
    reading, reason = total_energy(iter(PHASES))
    assert reading == EnergyReading(350.0, 12.0, "nvml:0", "gpu", "counter", 30.0, 114, 4.5, 7.5)
    assert reason == ""


@pytest.mark.parametrize("name", ["counter_j", "integrated_j"])
def test_a_source_that_one_phase_lacks_has_no_sum(name):
    """Half of it would look like the whole."""
    denoise = replace(PHASES[2], energy=replace(PHASES[2].energy, **{name: None}))
    reading, _ = total_energy([PHASES[1], denoise, PHASES[3]])
    assert getattr(reading, name) is None
    assert reading.energy_j == 350.0


def test_without_a_resolution_none_is_given():
    phases = [replace(p, energy=replace(p.energy, resolution_j=None)) for p in PHASES]
    assert total_energy(phases)[0].resolution_j is None


def test_a_phase_that_was_not_observed_leaves_the_image_without_energy():
    assert total_energy(PHASES[2:]) == (None, "no energy per image: text_encode not measured")
    assert total_energy([PHASES[2]]) == (
        None,
        "no energy per image: text_encode, decode not measured",
    )
    reading, reason = observed_energy(PHASES[2:])
    assert (reading.energy_j, reading.duration_s, reason) == (340.0, 11.5, "")


def test_a_part_without_energy_is_not_passed_over():
    blank = replace(PHASES[1], energy=None)
    assert total_energy([blank, *PHASES[2:]]) == (None, "energy is missing for a part of the run")
    assert total_energy([replace(p, energy=None) for p in PHASES]) == (None, "")
    assert total_energy([]) == (None, "")
    assert total_energy(PHASES[:1]) == (None, ""), "loading is no part of an image"


@pytest.mark.parametrize("change", [{"meter": "nvml:1"}, {"scope": "module"}])
def test_two_meters_make_no_sum(change):
    other = replace(PHASES[3], energy=replace(PHASES[3].energy, **change))
    assert total_energy([*PHASES[:3], other]) == (
        None,
        "the parts of the run were measured by different meters",
    )
