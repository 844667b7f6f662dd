"""What tests of more than one folder share."""

from __future__ import annotations

import pytest

from wattbench.cli.inprocess import load_comfyui
from wattbench.cli.server import ComfyServer, find_comfyui


@pytest.fixture(scope="session")
def comfy_server(tmp_path_factory):
    """One real ComfyUI on the CPU with this pack, for all tests that only use a server."""
    base = tmp_path_factory.mktemp("comfyui")
    models = base / "models"
    models.mkdir()
    arguments = ["--cpu", "--models-directory", str(models)]
    environment = {"WATTBENCH_METER": "estimate"}
    with ComfyServer(
        find_comfyui(), base_directory=base, environment=environment, arguments=arguments
    ) as server:
        yield server


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory):
    """ComfyUI within the test process, on the CPU: its module ``nodes``."""
    base = tmp_path_factory.mktemp("comfyui_in_process")
    return load_comfyui(find_comfyui(), cpu=True, base_directory=base)
