"""Energy by scope: the board's stays the board's, a total is of all scopes that were asked for."""

from dataclasses import replace

import pytest

from wattbench.analysis.runs_table import runs_frame
from wattbench.records import EnergyReading

POWERS_W = {"package": 50.0, "dram": 8.0}
IMAGE_S = 12.0
"""Seconds of encoding, denoising and decoding of the made run, at 200 W of the board."""


def beside(scope, duration_s, method="counter"):
    return EnergyReading(
        POWERS_W[scope] * duration_s, duration_s, f"rapl:{scope}", scope, method, 1e-6, 100
    )


@pytest.fixture
def measured(make_run):
    """A run measured by a board's meter and others; keywords change the run."""

    def make(*scopes, method="counter", without=(), **changes):
        run = make_run(**changes)
        phases = tuple(
            replace(
                phase,
                beside=tuple(
                    beside(scope, phase.duration_s, method)
                    for scope in scopes
                    if (scope, phase.name) not in without
                ),
            )
            for phase in run.phases
        )
        names = tuple(f"rapl:{scope}" for scope in scopes)
        return replace(run, phases=phases, beside_meters=names)

    return make


def row_of(run):
    return runs_frame([run]).iloc[0]


def test_each_scope_and_their_total(measured):
    row = row_of(measured("package", "dram"))
    assert row["energy_j"] == row["energy_gpu_j"] == pytest.approx(200 * IMAGE_S)
    assert row["energy_package_j"] == pytest.approx(50 * IMAGE_S)
    assert row["energy_dram_j"] == pytest.approx(8 * IMAGE_S)
    assert row["energy_total_j"] == pytest.approx(258 * IMAGE_S)
    assert row["energy_total_scopes"] == "gpu + package + dram"
    assert (
        row["energy_beside_meters"] == "rapl:package (package, counter); rapl:dram (dram, counter)"
    )
    assert row[["energy_module_j", "pue"]].isna().all()


def test_nothing_is_added_to_what_means_the_board(measured):
    alone, together = row_of(measured()), row_of(measured("package", "dram", pue=1.5))
    columns = ["energy_j", "energy_net_j", "mean_power_w", "j_per_img", "img_per_kwh"]
    columns += ["denoise_pooled_j", "j_per_step", "energy_meter", "energy_scope"]
    assert list(alone[columns]) == list(together[columns])


def test_a_scope_alone_has_no_total_but_with_a_pue(measured):
    assert row_of(measured())[["energy_total_j"]].isna().all()
    row = row_of(measured(pue=1.25))
    assert row["energy_total_j"] == pytest.approx(1.25 * 200 * IMAGE_S)
    assert (row["energy_total_scopes"], row["pue"]) == ("gpu", 1.25)


def test_the_pue_multiplies_the_total(measured):
    row = row_of(measured("package", pue=1.2))
    assert row["energy_total_j"] == pytest.approx(1.2 * 250 * IMAGE_S)
    assert row["energy_package_j"] == pytest.approx(50 * IMAGE_S)


def test_where_a_scope_is_missing_there_is_no_total(measured):
    """A part of one phase is enough: half a total would look like the whole."""
    row = row_of(measured("package", "dram", without={("dram", "decode")}, pue=1.2))
    assert row["energy_package_j"] == pytest.approx(50 * IMAGE_S)
    assert row[["energy_dram_j", "energy_total_j"]].isna().all()
    assert row["energy_total_scopes"] == ""
    assert row["energy_beside_meters"] == "rapl:package (package, counter); rapl:dram (blank)"


def test_loading_is_in_no_scope(measured):
    row = row_of(measured("package", without={("package", "load")}))
    assert row["energy_package_j"] == pytest.approx(50 * IMAGE_S)


def test_where_the_boards_meter_failed_the_others_stand(measured):
    row = row_of(replace(measured("package"), energy=None))
    assert row[["energy_j", "energy_gpu_j", "energy_total_j"]].isna().all()
    assert row["energy_package_j"] == pytest.approx(50 * IMAGE_S)


def test_work_that_nobody_measured_leaves_every_scope_blank(measured):
    row = row_of(replace(measured("package"), energy=None, unmeasured="VAEEncode (5.6 s)"))
    assert row[["energy_package_j", "energy_total_j"]].isna().all()


def test_what_was_not_measured_is_called_so_in_the_total(measured):
    row = row_of(measured("package", method="estimated"))
    assert row["energy_total_scopes"] == "gpu + package (estimated)"


def test_a_packages_own_run_has_its_scope(measured):
    run = measured("dram")
    of_package = replace(run, energy=replace(run.energy, meter="rapl:package", scope="package"))
    row = row_of(of_package)
    assert row["energy_package_j"] == row["energy_j"]
    assert row[["energy_gpu_j"]].isna().all()
    assert row["energy_total_scopes"] == "package + dram"
