"""RAPL on a simulated powercap tree."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from wattbench.measure.meters import DeviceId, MeterReadError, MeterUnavailableError, open_meter
from wattbench.measure.meters.rapl import MOST_W, RaplSource, most_power_w

RANGE_UJ = 262143328850


@pytest.fixture
def two_packages(put_zone):
    zones = [
        put_zone("intel-rapl:0", "package-0", energy_uj=1_000_000),
        put_zone("intel-rapl:1", "package-1", energy_uj=RANGE_UJ - 2_000_000),
    ]
    put_zone("intel-rapl:0:0", "core", energy_uj=400_000)
    put_zone("intel-rapl:0:1", "dram", energy_uj=7_000_000)
    put_zone("intel-rapl:2", "psys", energy_uj=9_000_000)
    put_zone("intel-rapl-mmio:0", "package-0", energy_uj=1_000_000)
    return zones


def test_packages_are_summed_and_nothing_is_counted_twice(sysfs, two_packages, set_file):
    meter = RaplSource(sysfs).open("package")
    assert (meter.name, meter.scope, meter.provenance) == ("rapl:package", "package", "measured")
    assert meter.note == "the sum of intel-rapl:0, intel-rapl:1"
    assert meter.read_energy_j() == 0
    set_file(two_packages[0] / "energy_uj", 4_500_000)
    assert meter.read_energy_j() == pytest.approx(3.5)
    assert meter.read_power_w() is None


def test_a_wrap_of_one_package_is_invisible(sysfs, two_packages, set_file):
    meter = RaplSource(sysfs).open("package")
    set_file(two_packages[1] / "energy_uj", 3_000_000)
    assert meter.read_energy_j() == pytest.approx(5.0)


def test_a_reset_is_an_error(sysfs, put_zone, set_file):
    zone = put_zone("intel-rapl:0", "package-0", energy_uj=90_000_000_000)
    meter = RaplSource(sysfs).open("package")
    set_file(zone / "energy_uj", 5)
    with pytest.raises(MeterReadError, match="a reset"):
        meter.read_energy_j()


def test_memory_is_its_own_scope(sysfs, two_packages):
    meter = RaplSource(sysfs).open("dram")
    assert (meter.name, meter.scope) == ("rapl:dram", "dram")


@pytest.mark.parametrize("content", ["", "unknown"])
def test_a_file_without_a_number_is_an_error_and_not_zero(sysfs, two_packages, content, set_file):
    meter = RaplSource(sysfs).open("package")
    set_file(two_packages[0] / "energy_uj", content)
    with pytest.raises(MeterReadError, match="energy_uj holds"):
        meter.read_energy_j()


def test_a_zone_that_vanishes_is_an_error(sysfs, two_packages):
    meter = RaplSource(sysfs).open("package")
    (two_packages[0] / "energy_uj").unlink()
    with pytest.raises(MeterReadError, match="intel-rapl:0/energy_uj: No such file"):
        meter.read_energy_j()


def test_a_zone_that_hides_its_range_is_refused(sysfs, put_zone):
    put_zone("intel-rapl:0", "package-0", range_uj=0)
    with pytest.raises(MeterUnavailableError, match="max_energy_range_uj"):
        RaplSource(sysfs).open("package")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="file permissions of Unix")
def test_without_the_right_to_read_it_names_the_remedy():
    with tempfile.TemporaryDirectory() as folder:
        zone = Path(folder) / "class/powercap/intel-rapl:0"
        zone.mkdir(parents=True)
        for file, value in {"name": "package-0", "max_energy_range_uj": RANGE_UJ}.items():
            (zone / file).write_text(f"{value}\n")
        (zone / "energy_uj").write_text("1\n")
        (zone / "energy_uj").chmod(0)
        Path(folder).chmod(0o755)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            (offer,) = RaplSource(Path(folder)).probe()
        finally:
            os.seteuid(user)
    assert (offer.name, offer.available) == ("rapl:package", False)
    assert "energy_uj: Permission denied" in offer.reason
    assert "udev" in offer.remedy
    assert "chmod a+r" in offer.remedy


def test_offers_and_refusals(sysfs, two_packages):
    offers = RaplSource(sysfs).probe()
    assert [(offer.name, offer.available) for offer in offers] == [
        ("rapl:package", True),
        ("rapl:dram", True),
    ]
    with pytest.raises(MeterUnavailableError, match="this machine has rapl:package, rapl:dram"):
        RaplSource(sysfs).open("core")


def test_a_machine_without_rapl(sysfs):
    (offer,) = RaplSource(sysfs).probe()
    assert not offer.available
    assert "modprobe intel_rapl_msr" in offer.remedy
    with pytest.raises(MeterUnavailableError, match="no RAPL zone"):
        RaplSource(sysfs).open("package")


def test_auto_measures_a_cpu_device_by_its_packages(sysfs, two_packages, monkeypatch):
    monkeypatch.delenv("WATTBENCH_METER", raising=False)
    sources = (RaplSource(sysfs),)
    assert open_meter("auto", DeviceId("cpu"), sources).name == "rapl:package"
    with pytest.raises(MeterUnavailableError, match="measures energy of all CPU packages"):
        open_meter("auto", DeviceId("cuda", name="some GPU"), sources)


@pytest.mark.parametrize(
    ("limits_w", "most_w"),
    [((125, 241), 361.5), ((65, 4095), MOST_W), ((), MOST_W), ((0,), MOST_W)],
)
def test_the_most_that_a_package_draws_is_known_from_its_limits(
    put_zone, set_file, limits_w, most_w
):
    zone = put_zone("intel-rapl:0", "package-0")
    for number, limit_w in enumerate(limits_w):
        set_file(zone / f"constraint_{number}_power_limit_uw", limit_w * 1_000_000)
    assert most_power_w(zone) == pytest.approx(most_w)
