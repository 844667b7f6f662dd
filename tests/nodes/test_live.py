"""The route of the HUD on the real server."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import pytest

from wattbench.measure.meters import METER_VARIABLE


def post(server, body):
    request = urllib.request.Request(
        f"http://{server.client.address}/api/wattbench/live",
        data=body if isinstance(body, bytes) else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


@pytest.fixture
def state(comfy_server):
    deadline_s = time.perf_counter() + 10
    while time.perf_counter() < deadline_s:
        state = post(comfy_server, {"watcher": "test", "interval_s": 0.5})
        if state:
            yield state
            post(comfy_server, {"watcher": "test", "leave": True})
            return
        time.sleep(0.1)
    pytest.fail("no reading in 10 s")


def test_without_a_meter_the_route_gives_the_reason(state):
    (device,) = state["devices"]
    assert device["device"] == "cpu:0"
    if device["meter"]:
        pytest.skip(f"this machine measures its processor: {device['meter']}")
    assert device["power_w"] is None
    assert METER_VARIABLE in device["power_reason"]
    assert device["energy_j"] is None
    assert device["vram_used_bytes"] is None
    assert "CPU" in device["vram_reason"]


def test_after_leaving_the_reading_is_anew(comfy_server, state):
    post(comfy_server, {"watcher": "test", "leave": True})
    time.sleep(0.5)
    assert post(comfy_server, {"watcher": "test", "interval_s": 0.5}) is None


@pytest.mark.parametrize(
    "body", [b"{", [], {}, {"watcher": 1}, {"watcher": "a"}, {"watcher": "a", "interval_s": -1}]
)
def test_a_wrong_body_is_refused(comfy_server, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(comfy_server, body)
    assert refused.value.code == 400
    assert "watcher" in refused.value.read().decode()
