"""The route of the HUD on the real server."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import pytest


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


def test_the_route_gives_the_device_that_comfyui_computes_on(state):
    (device,) = state["devices"]
    assert device["device"] == "cpu:0"
    assert (device["meter"], device["provenance"]) == ("estimate", "estimated")
    assert device["scope"] == "package"
    # Other tests share the server: a job of theirs may have been watched.
    unknown = device["energy_reason"] == "no job has run since watching began"
    assert unknown or device["energy_j"] > 0
    assert unknown == (device["energy_j"] is None)
    assert device["vram_used_bytes"] is None
    assert "CPU" in device["vram_reason"]


def test_power_of_a_counter_comes_with_the_second_reading(comfy_server, state):
    first = state
    while state["sequence"] == first["sequence"]:
        time.sleep(0.1)
        state = post(comfy_server, {"watcher": "test", "interval_s": 0.5})
    (device,) = state["devices"]
    assert device["power_source"] == "counter"
    assert device["power_w"] >= 0


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
