"""What tests of more than one folder share."""

from __future__ import annotations

import pytest

from wattbench.cli.server import ComfyServer, find_comfyui


@pytest.fixture(scope="session")
def comfy_server(tmp_path_factory):
    """One real ComfyUI on the CPU with this pack, for all tests that only use a server."""
    base = tmp_path_factory.mktemp("comfyui")
    with ComfyServer(find_comfyui(), base_directory=base, arguments=["--cpu"]) as server:
        yield server
