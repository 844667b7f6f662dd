"""The AMD SMI meters under the real amdsmi package and a simulated ROCm library."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from wattbench.measure.meters import DeviceId, MeterUnavailableError
from wattbench.measure.meters.amdsmi import AmdSmiMeter, amdsmi_boards

MI300 = """
gpu
bdf 0:c1:0
serial e1bc8c53e8b9dd3a
current 400
average 65535
counter 400
"""
OPEN = """
from wattbench.measure.meters.amdsmi import AmdSmiSource, AmdSmiPowerSource
meter = tries(lambda: AmdSmiSource().open("0"))
"""


def test_a_sound_counter_is_read_in_joules(with_amdsmi):
    code = """
before_j, before_s = meter.read_energy_j(), time.perf_counter()
time.sleep(0.25)
power_w = (meter.read_energy_j() - before_j) / (time.perf_counter() - before_s)
reply([meter.name, power_w, meter.read_power_w(), meter.energy_resolution_j, meter.note])
"""
    name, counted_w, power_w, resolution_j, note = with_amdsmi(MI300, OPEN + code)
    assert name == "amdsmi:0"
    assert counted_w == pytest.approx(400, rel=1e-4)
    assert power_w == 400
    assert resolution_j == pytest.approx(15.259e-6)
    assert note.startswith("power now")


@pytest.mark.parametrize("counter_w", [0, -400, 40, 800])
def test_a_counter_that_contradicts_the_power_is_refused(with_amdsmi, counter_w):
    script = MI300.replace("counter 400", f"counter {counter_w}")
    code = """
power = AmdSmiPowerSource().open("0")
reply([meter, power.name, power.read_power_w(), power.read_energy_j()])
"""
    refusal, *rest = with_amdsmi(script, OPEN + code)
    assert "cannot be believed" in refusal
    assert "while the sensor showed 400.0 W" in refusal
    assert rest == ["amdsmi-power:0", 400, None]


@pytest.mark.parametrize("sentinel", [65535, 4294967295, 0])
def test_sentinels_are_no_power(with_amdsmi, sentinel):
    script = MI300.replace("current 400", f"current {sentinel}")
    code = "reply(meter)"
    assert "amdsmi_get_power_info (current_socket_power)" in with_amdsmi(script, OPEN + code)
    script = script.replace("average 65535", "average 395")
    read = with_amdsmi(script, OPEN + "reply([meter.read_power_w(), meter.note])")
    assert read[0] == 395
    assert "smoothed" in read[1]


def test_vega_20_has_neither_and_is_refused_in_both_ways(with_amdsmi):
    script = "gpu\nbdf 0:0a:0\ncurrent 4294967295\naverage 4294967295\n"
    code = 'reply([meter, tries(lambda: AmdSmiPowerSource().open("0"))])'
    for refusal in with_amdsmi(script, OPEN + code):
        assert refusal.startswith("MeterUnavailableError: amdsmi_get_power_info")
        assert "hwmon" in refusal


def test_a_counter_that_cannot_be_asked_is_refused(with_amdsmi):
    script = MI300 + "fail -1 amdsmi_get_energy_count 2\n"
    refusal = with_amdsmi(script, OPEN + "reply(meter)")
    assert "amdsmi_get_energy_count of amdsmi:0" in refusal
    assert "NOT_SUPPORTED" in refusal


def test_failures_and_resets_in_mid_run_are_errors(with_amdsmi):
    script = MI300 + "reset 2\nfail 2 amdsmi_get_power_info 30\n"
    code = """
meter.read_energy_j()
time.sleep(2)
reply([tries(meter.read_energy_j) for _ in range(2)] + [tries(meter.read_power_w)])
"""
    first, second, power = with_amdsmi(script, OPEN + code)
    assert "the energy counter of amdsmi:0 ran backwards" in first
    assert "ran backwards" in second
    assert "AMDSMI_STATUS_BUSY" in power


def test_memory_limit_and_clocks_come_from_the_drivers_files(with_amdsmi, sysfs, put_board):
    files = {"power1_cap": 750_000_000, "temp1_input": 55_000, "freq1_input": 2_100_000_000}
    put_board("amdgpu", "0000:c1:00.0", mem_info_vram_used=6 * 1024**3, **files)
    code = f"""
from pathlib import Path
meter = AmdSmiPowerSource(Path({str(sysfs)!r})).open("0")
status = meter.read_status()
reply([meter.read_vram_bytes(), meter.power_limit_w(), status.temperature_c, status.sm_clock_hz])
"""
    assert with_amdsmi(MI300, OPEN + code) == [6 * 1024**3, 750, 55, 2.1e9]


FROZEN = MI300.replace("counter 400", "counter 0")


@pytest.mark.parametrize(
    ("script", "hwmon_files", "expected"),
    [
        (MI300, {"power1_input": 400_000_000}, "amdsmi:0"),
        (FROZEN, {"power1_input": 400_000_000}, "hwmon:0000:c1:00.0"),
        (FROZEN, {"power1_average": 400_000_000}, "hwmon:0000:c1:00.0"),
        (FROZEN, {"power1_average": 0}, "amdsmi-power:0"),
        (FROZEN.replace("current 400", "current 0"), {}, "MeterUnavailableError"),
    ],
)
def test_auto_follows_the_chain(with_amdsmi, sysfs, put_board, script, hwmon_files, expected):
    put_board("amdgpu", "0000:c1:00.0", **hwmon_files)
    device = DeviceId("cuda", 0, "AMD Instinct", "", "0000:c1:00.0")
    code = f"""
from pathlib import Path
from wattbench.measure.meters.amdsmi import AmdSmiSource, AmdSmiPowerSource
from wattbench.measure.meters.hwmon import HwmonSource
root = Path({str(sysfs)!r})
sources = (AmdSmiSource(root), HwmonSource(root), AmdSmiPowerSource(root))
meter = tries(lambda: open_meter("auto", {device!r}, sources))
reply(meter if isinstance(meter, str) else meter.name)
"""
    name = with_amdsmi(script, code)
    assert name.startswith(expected)
    if expected == "MeterUnavailableError":
        assert all(part in name for part in ("amdsmi:0", "hwmon:0000:c1:00.0", "amdsmi-power:0"))


def test_boards_are_matched_by_identity(with_amdsmi):
    devices = [
        DeviceId("cuda", 0, "", "65316263-3863-3533-6538-623964643361", ""),
        DeviceId("cuda", 0, "", "", "0000:c1:00.0"),
        DeviceId("cuda", 0, "", "", "0000:c2:00.0"),
        DeviceId("cpu"),
    ]
    other = "gpu\nbdf 0:05:0\nserial 00112233445566aa\ncurrent 10\ncounter 10\n"
    code = f"reply([AmdSmiSource().match(device) for device in {devices!r}])"
    assert with_amdsmi(other + MI300, OPEN + code) == ["1", "1", None, None]


def test_offers_name_each_board(with_amdsmi):
    code = """
reply([[o.name, o.available] for s in (AmdSmiSource(), AmdSmiPowerSource()) for o in s.probe()]
      + [tries(lambda: AmdSmiSource().open("7"))])
"""
    *offers, wrong = with_amdsmi(FROZEN, OPEN + code)
    assert offers == [["amdsmi:0", False], ["amdsmi-power:0", True]]
    assert "AMD SMI lists amdsmi:0" in wrong


def test_a_driver_that_is_not_loaded_is_a_reason(with_amdsmi):
    refusal = with_amdsmi("init 34\n", OPEN + "reply(meter)")
    assert "amdsmi_init:" in refusal
    assert "DRIVER_NOT_LOADED" in refusal


SILENT = """
import sys
from wattbench.measure.meters.amdsmi import AmdSmiSource
for _ in range(2):
    (offer,) = AmdSmiSource().probe()
    assert not offer.available and offer.remedy, offer
    assert not [name for name in sys.modules if name.split(".")[0] == "amdsmi"]
sys.stderr.write(offer.reason)
"""


def probe_in_silence(environment):
    process = subprocess.run(
        [sys.executable, "-c", SILENT], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout == ""
    return process.stderr


@pytest.mark.skipif(importlib.util.find_spec("amdsmi") is None, reason="needs the extra 'amd'")
def test_without_the_library_nothing_is_printed_or_left_behind(tmp_path):
    assert "libamd_smi.so is not to be found" in probe_in_silence({"ROCM_HOME": str(tmp_path)})


def test_a_package_that_prints_is_silenced(tmp_path, build_library):
    """Some releases print a hint before they fail."""
    package = tmp_path / "amdsmi"
    package.mkdir()
    code = 'print("Unable to find libamd_smi.so")\nraise KeyError("libamd_smi.so")\n'
    (package / "__init__.py").write_text(code)
    source = tmp_path / "empty.c"
    source.write_text("int amdsmi_nothing(void) { return 0; }\n")
    build_library(source, package / "libamd_smi.so")
    assert "does not fit libamd_smi.so" in probe_in_silence({"PYTHONPATH": str(tmp_path)})


@pytest.mark.skipif(importlib.util.find_spec("amdsmi") is None, reason="needs the extra 'amd'")
def test_a_library_that_does_not_fit_is_named_in_silence(tmp_path, build_library):
    source = tmp_path / "old.c"
    source.write_text("int amdsmi_free_name_value_pairs(void) { return 0; }\n")
    (tmp_path / "lib").mkdir()
    build_library(source, tmp_path / "lib" / "libamd_smi.so")
    reason = probe_in_silence({"ROCM_HOME": str(tmp_path)})
    assert "does not fit libamd_smi.so" in reason


def test_facts_of_a_board(with_amdsmi):
    code = """
from wattbench.measure.meters.facts import amdsmi_facts
reply([vars(facts) for facts in amdsmi_facts()])
"""
    [facts] = with_amdsmi(MI300, code)
    assert facts["pci_bus_id"] == "0000:c1:00.0"
    assert facts["power_w"] == 400
    assert facts["memory_bytes"] is None


class Answers:
    """A module amdsmi of another version, whose functions answer what they are told to."""

    class AmdSmiException(Exception):  # noqa: N818  (the name that the package has)
        pass

    def __init__(self, power, count, asic):
        self.answers = {
            "amdsmi_get_power_info": power,
            "amdsmi_get_energy_count": count,
            "amdsmi_get_gpu_asic_info": asic,
            "amdsmi_get_gpu_device_bdf": "0000:c1:00.0",
        }

    def amdsmi_get_processor_handles(self):
        return [object()]

    def __getattr__(self, name):
        answer = self.answers.get(name)
        if answer is None:
            raise AttributeError(name)
        return lambda handle: answer


@pytest.mark.parametrize(
    ("power", "count", "refusal"),
    [
        (None, {}, "amdsmi_get_power_info"),
        ("N/A", {}, "answered 'N/A'"),
        ([400], {}, r"answered \[400\]"),
        ({}, {}, "answered None"),
        ({"current_socket_power": "N/A", "average_socket_power": "N/A"}, {}, "answered 'N/A'"),
        ({"current_socket_power": 400}, None, "amdsmi_get_energy_count"),
        ({"current_socket_power": 400}, "N/A", "answered 'N/A'"),
        ({"current_socket_power": 400}, {"power": 1, "counter_resolution": 15.3}, "answered {"),
        (
            {"current_socket_power": 400},
            {"energy_accumulator": "N/A", "counter_resolution": "N/A"},
            "answered {",
        ),
    ],
)
@pytest.mark.parametrize("asic", [None, "N/A", {}, {"asic_serial": "N/A"}])
def test_other_forms_of_an_answer_are_a_refusal(tmp_path, power, count, asic, refusal):
    amdsmi = Answers(power, count, asic)
    [board] = amdsmi_boards(amdsmi)
    with pytest.raises(MeterUnavailableError, match=refusal):
        AmdSmiMeter(amdsmi, board, "amdsmi:0", True, tmp_path)
