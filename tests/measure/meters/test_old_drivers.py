"""Each function that a driver may lack is removed from the simulated library in turn.

nvidia-ml-py looks a function up when it is called, and raises ``NVMLLibraryMismatchError``, which
is no ``NVMLError``, where a driver has only an older form of it. amdsmi binds all of them when it
is imported, and cannot be imported where one is missing.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import DATA, code_of_clock, run_python

BOARD = """
gpu
uuid GPU-aaaaaaaa-0000-1111-2222-333333333333
pci 0:41:0
name NVIDIA A100-SXM4-80GB
counter_mj 5000000
power 0 100
memory 80000000000 600000000 1234567168
limit_mw 400000
temperature 61
sm_mhz 1410
throttle 0x4
display 0
"""
TELL = """
from dataclasses import asdict
from wattbench.measure.meters.facts import nvml_facts
at(1)
meter = open_meter("nvml:0", DeviceId("cpu"))
found = asdict(meter.read_status())
found.update(energy_j=meter.read_energy_j(), power_w=meter.read_power_w(),
             vram=meter.read_vram_bytes(), total=meter.vram_total_bytes(),
             highest_w=meter.highest_limit_w(), name=meter.name)
found.update({f"facts_{key}": value for key, value in asdict(nvml_facts()[0]).items()})
meter.close()
reply(found)
"""
REMOVED = {
    "nvmlDeviceGetTotalEnergyConsumption": {"energy_j": None},
    "nvmlDeviceGetFieldValues": {},
    "nvmlDeviceGetPowerUsage": {"facts_power_w": None},
    "nvmlDeviceGetMemoryInfo": {"total": None, "facts_memory_bytes": None},
    "nvmlDeviceGetMemoryInfo_v2": {"vram": 1834567168},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit_w": None, "facts_power_limit_w": None},
    "nvmlDeviceGetPowerManagementLimitConstraints": {},
    "nvmlDeviceGetPowerManagementDefaultLimit": {},
    "nvmlDeviceGetTemperature": {"temperature_c": None},
    "nvmlDeviceGetClockInfo": {"sm_clock_hz": None},
    "nvmlDeviceGetCurrentClocksEventReasons": {},
    "nvmlDeviceGetCurrentClocksThrottleReasons": {},
    "nvmlDeviceGetDisplayActive": {},
    "nvmlDeviceGetDisplayMode": {},
    "nvmlDeviceGetMigMode": {},
    "nvmlDeviceGetComputeRunningProcesses_v3": {"other_process_count": None},
    "nvmlDeviceGetGraphicsRunningProcesses_v3": {"other_process_count": None},
    "nvmlDeviceGetUUID": {},
    "nvmlDeviceGetName": {"facts_name": "NVIDIA GPU"},
    "nvmlDeviceGetPciInfo_v3": {"facts_pci_bus_id": ""},
    "nvmlSystemGetDriverVersion": {"facts_driver": ""},
}
"""What changes where a function is missing; where another one says the same, nothing does."""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Call ``told(function)``: what is told of the board by a library without it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("the simulated vendor libraries need the command cc")

    def tell(function: str) -> dict[str, object]:
        folder = tmp_path_factory.mktemp("nvml")
        clock, script = folder / "clock", folder / "script"
        script.write_text(f"clock {clock}\n{BOARD}", encoding="ascii")
        rename = [f"-D{function}=gone_{function}"] if function else []
        target = folder / "libnvidia-ml.so.1"
        source = Path(DATA / "fake_nvml.c")
        subprocess.run(
            [compiler, *rename, "-shared", "-fPIC", "-o", target, source, "-lm"], check=True
        )
        environment = {"LD_LIBRARY_PATH": str(folder), "FAKE_NVML_SCRIPT": str(script)}
        return dict(run_python(code_of_clock(clock) + TELL, environment))

    return tell


@pytest.fixture(scope="module")
def of_a_new_driver(told):
    return told("")


@pytest.mark.parametrize("function", REMOVED)
def test_without_a_function_its_value_is_none_and_nothing_else_changes(
    told, of_a_new_driver, function
):
    assert told(function) == {**of_a_new_driver, **REMOVED[function]}


def test_a_board_that_cannot_be_named_is_refused_with_the_reason(with_nvml):
    script = "gpu\nfail -1 nvmlDeviceGetUUID 3\nfail -1 nvmlDeviceGetPciInfo_v3 3\n"
    code = "reply([[o.name, o.available, o.reason] for o in NvmlSource().probe()])"
    assert with_nvml(script, code) == [
        ["nvml:0", False, "NVML cannot identify GPU 0: Not Supported, Not Supported"]
    ]


@pytest.mark.parametrize(
    "function", ["amdsmi_get_energy_count", "amdsmi_get_power_info", "amdsmi_get_gpu_asic_info"]
)
def test_amd_smi_without_a_function_is_refused_and_the_kernels_files_are_read(
    amdsmi_library, tmp_path, sysfs, put_board, function
):
    put_board("amdgpu", "0000:03:00.0", power1_input=42_000_000)
    root = tmp_path / "rocm"
    (root / "lib").mkdir(parents=True)
    command = ["cc", f"-D{function}=gone_{function}", "-shared", "-fPIC", "-w"]
    command += ["-o", root / "lib/libamd_smi.so", amdsmi_library / "amdsmi.c"]
    subprocess.run(command, check=True)
    code = f"""
from pathlib import Path
from wattbench.measure.meters.amdsmi import AmdSmiSource
from wattbench.measure.meters.hwmon import HwmonSource
root = Path({str(sysfs)!r})
device = DeviceId("cuda", pci_bus_id="0000:03:00.0")
meter = open_meter("auto", device, (AmdSmiSource(root), HwmonSource(root)))
reply([meter.name, meter.read_power_w(), AmdSmiSource(root).probe()[0].reason])
"""
    name, power_w, reason = run_python(code, {"ROCM_HOME": str(root)})
    assert (name, power_w) == ("hwmon:0000:03:00.0", 42)
    assert function in reason
