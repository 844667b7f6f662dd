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
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def watch(server):
    return post(server, {"watcher": "test", "interval_s": 0.5})


def leave(server):
    post(server, {"watcher": "test", "leave": True})


def until(condition):
    """Wait for what the server's thread does, however slow the machine is."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come about in a minute")


@pytest.fixture
def state(comfy_server):
    yield until(lambda: watch(comfy_server))
    leave(comfy_server)


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
    def second():
        seen = watch(comfy_server)
        return seen if seen["sequence"] > state["sequence"] else None

    (device,) = until(second)["devices"]
    assert device["power_source"] == "counter"
    assert device["power_w"] >= 0


def test_after_leaving_the_reading_is_anew(comfy_server, state):
    def begins_anew():
        leave(comfy_server)
        time.sleep(0.3)
        return watch(comfy_server) is None

    until(begins_anew)


@pytest.mark.parametrize(
    "body", [b"{", [], {}, {"watcher": 1}, {"watcher": "a"}, {"watcher": "a", "interval_s": -1}]
)
def test_a_wrong_body_is_refused(comfy_server, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(comfy_server, body)
    assert refused.value.code == 400
    assert "watcher" in refused.value.read().decode()
