"""What tests of more than one folder share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from wattbench.hosts.comfyui.inprocess import load_comfyui
from wattbench.hosts.remote.server import ComfyServer, find_comfyui

from . import environment, soaking
from .in_comfyui import conditioning, hundred_watts, tiny_models, workspace_folder
from .in_prompt import execute
from .made_runs import make_run, simulated_time
from .servers import ON_CPU, bare_python, journal_server, limited_board, write_workflow
from .spread import longest_first, scheduler

__all__ = [
    "bare_python",
    "conditioning",
    "environment",
    "execute",
    "hundred_watts",
    "journal_server",
    "limited_board",
    "make_run",
    "simulated_time",
    "tiny_models",
    "workspace_folder",
    "write_workflow",
]

# The same examples in every run, and as much time for each as a loaded machine takes.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", settings.get_profile("steady"), max_examples=1000)
settings.load_profile("soak" if soaking.SOAKS else "steady")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return scheduler(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_configure(config):
    config.addinivalue_line("markers", soaking.MARK)


def pytest_collection_modifyitems(config, items):
    soaking.choose(config, items)
    longest_first(items)


@pytest.fixture(scope="session")
def soaks():
    """Whether this is the long form."""
    return soaking.SOAKS


@pytest.fixture(scope="session")
def comfy_server(tmp_path_factory, bare_python):
    """One real ComfyUI on the CPU with this pack, for all tests that only use a server.

    The pack is not installed there: it is what ComfyUI finds in ``custom_nodes``.
    """
    base = tmp_path_factory.mktemp("comfyui")
    models = base / "models"
    models.mkdir()
    arguments = [*ON_CPU, "--models-directory", str(models)]
    environment = {"WATTBENCH_METER": "estimate"}
    with ComfyServer(
        find_comfyui(),
        base_directory=base,
        environment=environment,
        arguments=arguments,
        python=bare_python,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory):
    """ComfyUI within the test process, on the CPU: its module ``nodes``."""
    base = tmp_path_factory.mktemp("comfyui_in_process")
    return load_comfyui(find_comfyui(), cpu=True, base_directory=base)


@pytest.fixture(scope="session")
def build_library():
    """Call ``build_library(source, target)``.

    Skipped without a Linux C compiler, an error on the CI.
    """
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the simulated vendor libraries need Linux and the command cc")
        pytest.skip("the simulated vendor libraries need Linux and the command cc")

    def build(source, target):
        command = [
            compiler,
            "-Wall",
            "-Werror",
            "-O1",
            "-shared",
            "-fPIC",
            "-o",
            target,
            source,
            "-lm",
        ]
        subprocess.run(command, check=True)

    return build


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory, build_library):
    """The folder of a simulated ``libnvidia-ml.so.1``."""
    folder = tmp_path_factory.mktemp("nvml")
    build_library(Path(__file__).parent / "data" / "fake_nvml.c", folder / "libnvidia-ml.so.1")
    return folder


@pytest.fixture
def simulated_nvml(nvml_library, tmp_path):
    """Call ``simulated_nvml(script)``: the environment of a process that has these boards."""

    def simulate(script):
        path = tmp_path / "boards.script"
        path.write_text(script, encoding="utf-8")
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(nvml_library),
            "FAKE_NVML_SCRIPT": str(path),
        }

    return simulate
