"""Simulated vendor libraries, built once per run, and the means to read meters through them."""

from __future__ import annotations

import json
import os
import shutil
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


def compile_library(source: Path, target: Path) -> None:
    """Build a shared library; skipped without a Linux C compiler, an error on the CI."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the simulated vendor libraries need Linux and the command cc")
        pytest.skip("the simulated vendor libraries need Linux and the command cc")
    command = [compiler, "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", target, source]
    subprocess.run(command, check=True)


def run_python(code: str, environment: dict[str, str]) -> Any:
    """Run ``code`` after ``PRELUDE`` in a fresh process; what it passes to ``reply``."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("WATTBENCH_", "ROCM_"))}
    process = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    lines = process.stdout.splitlines()
    assert len(lines) == 1, f"only the reply may be printed: {process.stdout}"
    return json.loads(lines[0])


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a simulated ``libnvidia-ml.so.1``."""
    folder = tmp_path_factory.mktemp("nvml")
    compile_library(DATA / "fake_nvml.c", folder / "libnvidia-ml.so.1")
    return folder


@pytest.fixture
def with_nvml(nvml_library: Path, tmp_path: Path) -> Callable[..., Any]:
    """Call ``with_nvml(script, code)``: ``code`` runs under the real nvidia-ml-py.

    ``at(t)`` in ``code`` sets the simulated time, in seconds.
    """
    clock = tmp_path / "clock"
    clock_code = f"""
def at(t_s):
    with open({str(clock)!r} + ".new", "w") as file:
        file.write(str(t_s))
    os.replace({str(clock)!r} + ".new", {str(clock)!r})
at(0)
"""

    def run(script: str, code: str, **environment: str) -> Any:
        path = tmp_path / "nvml.script"
        path.write_text(f"clock {clock}\n{script}")
        libraries = {"LD_LIBRARY_PATH": str(nvml_library), "FAKE_NVML_SCRIPT": str(path)}
        return run_python(clock_code + code, {**libraries, **environment})

    return run
