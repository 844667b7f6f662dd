"""Node classes as the real ComfyUI describes them."""

import pytest

from wattbench.hosts.remote.definitions import definitions_of


@pytest.fixture(scope="session")
def definitions(comfy_server):
    return definitions_of(comfy_server.client.get_json("/object_info"))
