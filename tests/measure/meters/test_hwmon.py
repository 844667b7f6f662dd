"""AMD and Intel GPUs on a simulated hwmon tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.meters import DeviceId, MeterReadError, MeterUnavailableError, open_meter
from wattbench.measure.meters.amdgpu import believable_w
from wattbench.measure.meters.hwmon import HwmonSource


@pytest.fixture
def vega20(put_board):
    """A Radeon Pro VII under a kernel from 6.6 on: whole watts, no counter."""
    return put_board(
        "amdgpu",
        "0000:0a:00.0",
        4,
        power1_input=187_000_000,
        power1_average=150_000_000,
        power1_cap=250_000_000,
        power1_cap_default=220_000_000,
        gpu_busy_percent=43,
        pp_dpm_pcie="0: 2.5GT/s, x8 310Mhz \n1: 16.0GT/s, x16 619Mhz *",
        temp1_input=61_000,
        freq1_input=1_700_000_000,
        freq2_input=1_000_000_000,
        mem_info_vram_used=1_234_567_168,
        unique_id="e1bc8c53e8b9dd3a",
    )


def test_vega_20_has_power_now_in_whole_watts(sysfs, vega20, set_file):
    meter = HwmonSource(sysfs).open("0000:0a:00.0")
    assert (meter.name, meter.scope, meter.provenance) == ("hwmon:0000:0a:00.0", "gpu", "measured")
    assert meter.read_power_w() == 187
    assert meter.read_energy_j() is None
    assert meter.energy_resolution_j is None
    assert meter.read_vram_bytes() == 1_234_567_168
    assert meter.note.startswith("power1_input: power now")
    set_file(vega20 / "power1_input", 23_000_000)
    assert meter.read_power_w() == 23


def test_amd_status_in_si_units(sysfs, vega20):
    status = HwmonSource(sysfs).open("0a:00.0").read_status()
    assert (status.temperature_c, status.power_limit_w) == (61, 250)
    assert status.sm_clock_hz == 1.7e9
    assert status.throttle_reasons is None
    assert status.other_process_count is None
    assert status.gpu_utilisation == pytest.approx(0.43)
    assert status.pcie_link == (4, 16)


def test_the_default_limit_of_a_board(sysfs, vega20, put_board):
    put_board("xe", "0000:05:00.0", 5, energy1_input=7_000_000, power1_rated_max=190_000_000)
    put_board("xe", "0000:06:00.0", 6, energy1_input=7_000_000)
    addresses = ("0000:0a:00.0", "0000:05:00.0", "0000:06:00.0")
    defaults = [HwmonSource(sysfs).open(address).default_limit_w() for address in addresses]
    assert defaults == [220, 190, None]


@pytest.mark.parametrize(
    ("levels", "link"),
    [
        ("0: 2.5GT/s, x1 310Mhz *\n1: 16.0GT/s, x16 619Mhz ", (1, 1)),
        ("0: 2.5GT/s, x8 310Mhz \n1: 8.0GT/s, x16 619Mhz *", (3, 16)),
        ("0: 2.5GT/s, x8 310Mhz \n1: 8.0GT/s, x16 619Mhz ", None),
        ("0: 7.0GT/s, x8 310Mhz *", None),
        ("", None),
    ],
)
def test_the_link_in_force_is_the_one_with_the_star(sysfs, vega20, set_file, levels, link):
    set_file(vega20 / "device" / "pp_dpm_pcie", levels)
    assert HwmonSource(sysfs).open("0a:00.0").read_status().pcie_link == link


@pytest.mark.parametrize("unusable", [None, 0, 65_535_000_000, 4_294_967_295_000_000, "N/A"])
def test_an_older_kernel_or_a_dead_sensor_falls_back_to_the_average(sysfs, put_board, unusable):
    files = {"power1_average": 42_000_000}
    if unusable is not None:
        files["power1_input"] = unusable
    put_board("amdgpu", "0000:03:00.0", **files)
    meter = HwmonSource(sysfs).open("0000:03:00.0")
    assert meter.read_power_w() == 42
    assert meter.note.startswith("power1_average: smoothed")


def test_an_rdna_board_reads_microwatts(sysfs, put_board):
    put_board("amdgpu", "0000:03:00.0", power1_average=303_412_000)
    assert HwmonSource(sysfs).open("0000:03:00.0").read_power_w() == pytest.approx(303.412)


def test_an_apu_measures_the_package(sysfs, put_board):
    put_board("amdgpu", "0000:e5:00.0", power1_input=15_000_000, in1_label="vddnb")
    meter = HwmonSource(sysfs).open("0000:e5:00.0")
    assert meter.scope == "package"
    assert "APU" in meter.note


def test_a_board_without_power_is_refused_with_both_reasons(sysfs, put_board):
    put_board("amdgpu", "0000:03:00.0", power1_input=0)
    with pytest.raises(MeterUnavailableError, match=r"power1_input answered 0 W.*power1_average"):
        HwmonSource(sysfs).open("0000:03:00.0")


@pytest.mark.parametrize("value", [0, 65_535_000_000, "", "N/A"])
def test_a_sensor_that_fails_in_mid_run_is_an_error(sysfs, vega20, set_file, value):
    meter = HwmonSource(sysfs).open("0000:0a:00.0")
    set_file(vega20 / "power1_input", value)
    with pytest.raises(MeterReadError, match="power1_input"):
        meter.read_power_w()


def test_a_board_that_vanishes_is_an_error(sysfs, vega20):
    meter = HwmonSource(sysfs).open("0000:0a:00.0")
    (vega20 / "power1_input").unlink()
    with pytest.raises(MeterReadError, match="No such file"):
        meter.read_power_w()


@given(power_uw=st.integers(1, 65_534_000_000))
def test_every_possible_power_passes_unchanged(power_uw):
    assert believable_w(power_uw * 1e-6, "x") == power_uw * 1e-6


def test_an_intel_card_has_a_counter(sysfs, put_board, set_file):
    hwmon = put_board("xe", "0000:05:00.0", energy1_input=5_000_000, power1_max=190_000_000)
    meter = HwmonSource(sysfs).open("0000:05:00.0")
    assert (meter.read_energy_j(), meter.read_power_w(), meter.scope) == (5, None, "gpu")
    assert meter.read_status().power_limit_w == 190
    set_file(hwmon / "energy1_input", 12_500_000)
    assert meter.read_energy_j() == 12.5
    set_file(hwmon / "energy1_input", 3)
    with pytest.raises(MeterReadError, match="ran backwards"):
        meter.read_energy_j()


def test_an_intel_package_is_not_called_a_card(sysfs, put_board):
    files = {"energy1_input": 0, "energy2_input": 8_000_000, "energy2_label": "pkg"}
    put_board("xe", "0000:05:00.0", **files)
    meter = HwmonSource(sysfs).open("0000:05:00.0")
    assert (meter.read_energy_j(), meter.scope) == (8, "module")
    assert meter.note == "energy2_input of xe (pkg)"


@pytest.mark.parametrize("files", [{}, {"energy1_input": 0}])
def test_an_intel_gpu_without_a_count_is_refused(sysfs, put_board, files):
    put_board("i915", "0000:00:02.0", **files)
    with pytest.raises(MeterUnavailableError, match="energy1_input"):
        HwmonSource(sysfs).open("0000:00:02.0")


def test_other_drivers_and_tiles_are_no_boards(sysfs, put_board):
    put_board("k10temp", "0000:00:18.3", 0, power1_input=5)
    put_board("i915_gt0", "0000:05:00.0", 1, energy1_input=5)
    (offer,) = HwmonSource(sysfs).probe()
    assert (offer.name, offer.available) == ("hwmon", False)
    with pytest.raises(MeterUnavailableError, match="no AMD or Intel GPU"):
        HwmonSource(sysfs).open("0000:00:18.3")


TORCH_UUID = "65316263-3863-3533-6538-623964643361"
"""The unique id of the Radeon above as torch prints HIP's bytes."""


@pytest.mark.parametrize(
    "device",
    [
        DeviceId("cuda", 0, "AMD", "", "0000:0a:00.0"),
        DeviceId("cuda", 0, "AMD", TORCH_UUID, ""),
        DeviceId("cuda", 0, "AMD", "GPU-E1BC8C53E8B9DD3A", ""),
    ],
)
def test_auto_finds_the_board_by_identity(sysfs, vega20, put_board, monkeypatch, device):
    monkeypatch.delenv("WATTBENCH_METER", raising=False)
    put_board("amdgpu", "0000:03:00.0", 1, power1_input=99_000_000, unique_id="00" * 8)
    meter = open_meter("auto", device, (HwmonSource(sysfs),))
    assert meter.name == "hwmon:0000:0a:00.0"


def test_offers_are_sorted_and_a_wrong_name_lists_them(sysfs, vega20, put_board):
    put_board("amdgpu", "0000:03:00.0", 1)
    offers = HwmonSource(sysfs).probe()
    assert [(offer.name, offer.available) for offer in offers] == [
        ("hwmon:0000:03:00.0", False),
        ("hwmon:0000:0a:00.0", True),
    ]
    with pytest.raises(MeterUnavailableError, match=r"this machine has hwmon:0000:03:00\.0, hwmon"):
        HwmonSource(sysfs).open("card0")
    assert HwmonSource(sysfs).match(DeviceId("cpu")) is None


def test_a_folder_that_belongs_to_another_card_is_read_no_more(sysfs, vega20, put_board, set_file):
    """The driver numbers folders anew when it is loaded again, or a card is plugged in."""
    other = put_board("amdgpu", "0000:0b:00.0", 5, power1_input=40_000_000, unique_id="f0")
    meter = HwmonSource(sysfs).open("0000:0a:00.0")
    link = sysfs / "class/hwmon/hwmon4"
    link.unlink()
    link.symlink_to(other)
    assert meter.read_power_w() == 187, "it was opened by its own path"
    device = vega20 / "device"
    device.unlink()
    device.symlink_to(other / "device")
    for read in (meter.read_power_w, meter.read_vram_bytes):
        with pytest.raises(MeterReadError, match=r"was the folder of the board at 0000:0a:00\.0"):
            read()


def test_another_card_at_the_same_address_is_another_card(sysfs, vega20, set_file):
    meter = HwmonSource(sysfs).open("0000:0a:00.0")
    set_file(vega20 / "device/unique_id", "0000000000000001")
    with pytest.raises(MeterReadError, match="is it no longer"):
        meter.read_power_w()
    assert HwmonSource(sysfs).open("0000:0a:00.0").read_power_w() == 187


def test_an_intel_card_is_compared_too(sysfs, put_board, tmp_path):
    hwmon = put_board("xe", "0000:05:00.0", energy1_input=5_000_000)
    meter = HwmonSource(sysfs).open("0000:05:00.0")
    (hwmon / "device").unlink()
    (hwmon / "device").symlink_to(tmp_path)
    with pytest.raises(MeterReadError, match="is it no longer"):
        meter.read_energy_j()


GIB = 2**30


@pytest.mark.parametrize(("label", "is_apu"), [("vddnb", True), ("vddgfx", False)])
def test_memory_of_an_apu_is_its_carve_out_and_main_memory(sysfs, put_board, label, is_apu):
    put_board(
        "amdgpu",
        "0000:c1:00.0",
        power1_input=30_000_000,
        in1_label=label,
        mem_info_vram_used=GIB // 4,
        mem_info_vram_total=GIB // 2,
        mem_info_gtt_used=20 * GIB,
        mem_info_gtt_total=24 * GIB,
    )
    meter = open_meter("hwmon:0000:c1:00.0", DeviceId("cuda"), (HwmonSource(sysfs),))
    used, total = meter.read_vram_bytes(), meter.vram_total_bytes()
    if is_apu:
        assert (used, total) == (20.25 * GIB, 24.5 * GIB)
        assert "carve-out + GTT" in meter.note
        assert "carve-out + GTT" in meter.memory
    else:
        assert (used, total) == (GIB // 4, GIB // 2)
        assert meter.memory == "whole device"
