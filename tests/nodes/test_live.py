"""The route of the HUD on the real server."""

from __future__ import annotations

import urllib.error

import pytest

from ..waiting import until
from .posting import post

ROUTE = "/api/wattbench/live"


def watch(server):
    return post(server, ROUTE, {"watcher": "test", "interval_s": 0.5})


def leave(server):
    post(server, ROUTE, {"watcher": "test", "leave": True})


@pytest.fixture
def state(comfy_server):
    yield until(lambda: watch(comfy_server))
    leave(comfy_server)


def test_the_route_gives_the_device_that_comfyui_computes_on(state):
    (device,) = state["devices"]
    assert device["device"] == "cpu:0"
    assert (device["meter"], device["provenance"]) == ("estimate", "estimated")
    assert device["scope"] == "package"
    # Other tests share the server: a job of theirs may have been watched, or a part of one.
    assert (device["energy_j"] is None) == (device["energy_reason"] != "")
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
        if watch(comfy_server) is None:
            return True
        leave(comfy_server)
        return False

    until(begins_anew, pause_s=0.3)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b"[" * 100_000,
        [],
        {},
        {"watcher": 1},
        {"watcher": "a"},
        {"watcher": "a" * 101, "interval_s": 1},
        {"watcher": "a", "interval_s": -1},
        {"watcher": "a", "interval_s": True},
        b'{"watcher": "a", "interval_s": NaN}',
    ],
)
def test_a_wrong_body_is_refused(comfy_server, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(comfy_server, ROUTE, body)
    assert refused.value.code == 400
    assert "watcher" in refused.value.read().decode()


@pytest.mark.parametrize("interval_s", [b"3600", b"Infinity", b"1" + b"0" * 400])
def test_a_long_interval_is_brought_into_range(comfy_server, interval_s):
    try:
        post(comfy_server, ROUTE, b'{"watcher": "test", "interval_s": ' + interval_s + b"}")
    finally:
        leave(comfy_server)


@pytest.mark.parametrize("route", [ROUTE, "/api/wattbench/watch"])
def test_a_page_without_an_origin_is_refused(comfy_server, route):
    body = {"watcher": "test", "leave": True, "every_prompt": False}
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(comfy_server, route, body, Origin="null")
    assert refused.value.code == 403
    post(comfy_server, route, body, Origin="null", **{"Sec-Fetch-Site": "same-origin"})
    post(comfy_server, route, body)
