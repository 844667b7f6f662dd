"""Tuning from the page, on the real server: begun, followed, cancelled, its results fetched."""

import http.client
import itertools
import json

import pytest

from ...study.graphs import sdxl
from ...waiting import until

ROUTE = "/wattbench/tune"
WAIT_S = 600
SEEDS = itertools.count(1000, 100)
"""So that no two searches meet in ComfyUI's cache."""


@pytest.fixture
def ask(comfy_server):
    client = comfy_server.client

    def send(path, body=None, **headers):
        connection = http.client.HTTPConnection(client.host, client.port, timeout=60)
        if body is None:
            connection.request("GET", path)
        else:
            text = body if isinstance(body, str) else json.dumps(body)
            connection.request("POST", path, text, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        data = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(data) if is_json else data.decode(), answer.headers

    return send


def wish(**changes):
    graph = sdxl(seed=next(SEEDS), steps=1)
    wanted = {"workflow": graph, "objective": "s_per_img", "budget_min": 0.01}
    return {**wanted, "levers": ["vae_attention"], **changes}


def test_a_search_is_followed_to_its_end_and_leaves_a_report(ask):
    status, told, _ = ask(ROUTE, wish())
    assert (status, told["state"]) == (200, "running")
    assert ask(ROUTE, wish())[0] == 409
    told = until(lambda: (t := ask(ROUTE)[1])["state"] != "running" and t, WAIT_S, 0.5)
    assert (told["state"], told["error"]) == ("done", "")
    image, end = told["events"]["image"], told["events"]["end"]
    assert image["image"] == image["of"] == 3
    assert end["verdict"].startswith("Keep what you have")
    names = [one["candidate"] for one in end["candidates"]]
    assert names == ["as it is", "vae_attention=sdpa"]
    assert end["candidates"][1]["ratio"] > 0
    assert told["results"] == ["report"]
    status, page, headers = ask(f"{ROUTE}/report")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert "Keep what you have" in page
    assert ask(f"{ROUTE}/tuned")[0] == 404


def test_a_search_that_is_cancelled_keeps_what_it_measured(ask):
    assert ask(ROUTE, wish(budget_min=60))[0] == 200
    until(lambda: "image" in ask(ROUTE)[1]["events"], WAIT_S, 0.2)
    assert ask(f"{ROUTE}/cancel", {})[0] == 200
    told = until(lambda: (t := ask(ROUTE)[1])["state"] == "cancelled" and t, WAIT_S, 0.2)
    assert told["error"] == ""
    assert ask("/queue")[1]["queue_running"] == []


def test_what_cannot_be_tuned_says_why(ask):
    assert ask(ROUTE, wish(workflow={"1": {"class_type": "Nothing", "inputs": {}}}))[0] == 200
    told = until(lambda: (t := ask(ROUTE)[1])["state"] != "running" and t, WAIT_S, 0.2)
    assert told["state"] == "failed"
    assert "no output node" in told["error"]


@pytest.mark.parametrize(
    "body",
    [
        "no json",
        [],
        {},
        wish(workflow={}),
        wish(workflow=[]),
        wish(objective="beauty"),
        wish(budget_min=0),
        wish(budget_min=True),
        wish(budget_min="30"),
        wish(budget_min=1441),
        wish(budget_min=float("nan")),
        wish(levers="attention"),
        wish(levers=["launch=--fast"]),
        wish(levers=["--server"]),
    ],
)
def test_anything_else_is_refused(ask, body):
    status, text, _ = ask(ROUTE, body)
    assert status == 400
    assert "budget_min" in text


def test_a_page_without_an_origin_is_refused(ask):
    assert ask(ROUTE, wish(), Origin="null")[0] == 403
    assert ask(f"{ROUTE}/cancel", {}, Origin="null")[0] == 403
