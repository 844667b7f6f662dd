"""Simulated vendor libraries, built once per run, and the means to read meters through them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "data"

PRELUDE = """
import json, os, sys
from wattbench.measure.meters import *
from wattbench.measure.meters.nvml import NvmlSource
def reply(value):
    sys.stdout.write(json.dumps(value) + "\\n")
def tries(read):
    try:
        return read()
    except (MeterReadError, MeterUnavailableError) as error:
        return f"{type(error).__name__}: {error}"
"""


def run_python(code: str, environment: dict[str, str]) -> Any:
    """Run ``code`` after ``PRELUDE`` in a fresh process; what it passes to ``reply``."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("WATTBENCH_", "ROCM_"))}
    process = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    lines = process.stdout.splitlines()
    assert len(lines) == 1, f"only the reply may be printed: {process.stdout}"
    return json.loads(lines[0])


def code_of_clock(file: Path) -> str:
    """Code of ``at(t)``, which sets the time of a simulated library, in seconds, to 0 at first.

    Who judges how fast a counter rises goes by the same time.
    """
    return f"""
from types import SimpleNamespace
from wattbench.measure.meters import plausible
def at(t_s):
    plausible.time = SimpleNamespace(perf_counter=lambda: t_s)
    with open({str(file)!r} + ".new", "w") as file:
        file.write(str(t_s))
    os.replace({str(file)!r} + ".new", {str(file)!r})
at(0)
"""


@pytest.fixture
def with_nvml(nvml_library: Path, tmp_path: Path) -> Callable[..., Any]:
    """Call ``with_nvml(script, code)``: ``code`` runs under the real nvidia-ml-py.

    ``at(t)`` in ``code`` sets the simulated time, in seconds, unless ``is_real_time``.
    """
    clock = tmp_path / "clock"
    clock_code = code_of_clock(clock)

    def run(script: str, code: str, is_real_time: bool = False, **environment: str) -> Any:
        path = tmp_path / "nvml.script"
        path.write_text(script if is_real_time else f"clock {clock}\n{script}")
        libraries = {"LD_LIBRARY_PATH": str(nvml_library), "FAKE_NVML_SCRIPT": str(path)}
        return run_python(clock_code + code, {**libraries, **environment})

    return run


@pytest.fixture(scope="session")
def amdsmi_library(
    tmp_path_factory: pytest.TempPathFactory, build_library: Callable[[Path, Path], None]
) -> Path:
    """The root of a simulated ROCm with ``lib/libamd_smi.so``."""
    package = importlib.util.find_spec("amdsmi")
    if package is None or package.origin is None:
        pytest.skip("the Python package amdsmi is not installed (extra 'amd')")
    wrapper = (Path(package.origin).parent / "amdsmi_wrapper.py").read_text(encoding="utf-8")
    names = set(re.findall(r"_libraries\['libamd_smi.so'\]\.(\w+)", wrapper))
    real = (DATA / "fake_amdsmi.c").read_text(encoding="utf-8")
    stubs = sorted(name for name in names if f"int {name}(" not in real)
    root = tmp_path_factory.mktemp("rocm")
    source = root / "amdsmi.c"
    lines = [f"int {name}(void) {{ return NOT_SUPPORTED; }}" for name in stubs]
    source.write_text("\n".join([real, *lines]), encoding="utf-8")
    (root / "lib").mkdir()
    build_library(source, root / "lib" / "libamd_smi.so")
    return root


@pytest.fixture
def with_amdsmi(amdsmi_library: Path, tmp_path: Path) -> Callable[..., Any]:
    """Call ``with_amdsmi(script, code)``: ``code`` runs under the real amdsmi package.

    The meter and the library share a simulated time, in ``code`` named ``time``.
    """
    clock = tmp_path / "clock"
    time_code = """
from types import SimpleNamespace
from wattbench.measure.meters import amdsmi
now_s = 0.0
def sleep(seconds):
    global now_s
    now_s += seconds
    at(now_s)
time = amdsmi.time = SimpleNamespace(sleep=sleep, perf_counter=lambda: now_s)
"""

    def run(script: str, code: str) -> Any:
        path = tmp_path / "amdsmi.script"
        path.write_text(f"clock {clock}\n{script}")
        roots = {"ROCM_HOME": str(amdsmi_library), "FAKE_AMDSMI_SCRIPT": str(path)}
        return run_python(code_of_clock(clock) + time_code + code, roots)

    return run


def write(path: Path, value: object) -> None:
    """Put a value into a file of a simulated sysfs as the kernel does: all at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(f"{value}\n")
    new.replace(path)


@pytest.fixture
def set_file() -> Callable[[Path, object], None]:
    """Call ``set_file(path, value)``."""
    return write


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """The root of a simulated sysfs."""
    root = tmp_path / "sys"
    root.mkdir()
    return root


@pytest.fixture
def put_zone(sysfs: Path) -> Callable[..., Path]:
    """Call ``put_zone("intel-rapl:0", "package-0", energy_uj=…)``; its folder."""

    def put(folder: str, name: str, range_uj: int = 262143328850, energy_uj: int = 1) -> Path:
        zone = sysfs / "class/powercap" / folder
        for file, value in {
            "name": name,
            "max_energy_range_uj": range_uj,
            "energy_uj": energy_uj,
        }.items():
            write(zone / file, value)
        return zone

    return put


@pytest.fixture
def put_board(sysfs: Path) -> Callable[..., Path]:
    """Call ``put_board("amdgpu", "0000:03:00.0", power1_input=…)``; its hwmon folder.

    ``mem_info_vram_used``, ``unique_id``, ``gpu_busy_percent`` and ``pp_dpm_pcie`` go into the
    device's folder, the rest into hwmon's.
    """

    def put(driver: str, address: str, number: int = 0, **files: object) -> Path:
        device = sysfs / "devices" / address
        hwmon = device / "hwmon" / f"hwmon{number}"
        write(hwmon / "name", driver)
        (hwmon / "device").symlink_to(device)
        for name, value in files.items():
            is_device = name.startswith(("mem_", "unique", "gpu_", "pp_"))
            write(device / name if is_device else hwmon / name, value)
        link = sysfs / "class/hwmon" / f"hwmon{number}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(hwmon)
        return hwmon

    return put
