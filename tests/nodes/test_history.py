"""The history on the real server: what prompts cost is kept while it is on, and no text."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import pytest

from ..waiting import until
from .posting import post
from .test_watch import queue

ROUTE = "/api/wattbench/history"
SECRET = "a moth that nobody may know of"
SAMPLING = {"steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


def picture(seed, backend="sage_1"):
    """A picture by a kernel that this machine lacks, of a model that no other test has loaded."""
    model = {"architecture": "sdxl", "size": "tiny", "dtype": "fp32", "seed": seed}
    size = {"width": 64, "height": 64, "batch_size": 1}
    choice = {"model": ["1", 0], "backend": backend, "strict": False, "max_error": 0.05}
    given = {
        "model": ["2", 0],
        "positive": ["3", 0],
        "negative": ["3", 0],
        "latent_image": ["4", 0],
    }
    return {
        "1": {"class_type": "WattBenchSyntheticModel", "inputs": model},
        "2": {"class_type": "WattBenchAttentionBackend", "inputs": {**choice, "timed": False}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": SECRET}},
        "4": {"class_type": "EmptyLatentImage", "inputs": size},
        "5": {"class_type": "KSampler", "inputs": {**given, **SAMPLING, "seed": seed}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["8", 0]}},
        "7": {"class_type": "PreviewImage", "inputs": {"images": ["6", 0]}},
        "8": {
            "class_type": "WattBenchVAEAttention",
            "inputs": {"vae": ["1", 2], "backend": "flash_attention_2"},
        },
    }


@pytest.fixture
def kept(comfy_server):
    """The server's history, empty and switched on; a function that gives a prompt of it."""
    post(comfy_server, ROUTE, {"clear": True})
    assert post(comfy_server, ROUTE, {"most": 10})["most"] == 10

    def found(prompt_id):
        prompts = comfy_server.client.get_json("/wattbench/history")["prompts"]
        return next((one for one in prompts if one["prompt_id"] == prompt_id), None)

    yield found
    post(comfy_server, ROUTE, {"most": 0})


def test_a_prompt_leaves_its_costs_loads_and_fall_backs(comfy_server, kept):
    prompt_id = queue(comfy_server, picture(time.time_ns() % 2**32))
    entry = until(lambda: kept(prompt_id))
    by_id = {node["node_id"]: node for node in entry["nodes"]}
    assert {by_id[key]["state"] for key in "5678" if key in by_id} == {"executed"}
    assert 0 < by_id["5"]["time_s"] <= entry["time_s"]
    assert sum(node["time_s"] or 0 for node in entry["nodes"]) <= entry["time_s"]
    assert (entry["meter"], entry["method"]) == ("estimate", "estimated")
    assert entry["energy_j"] > 0
    assert entry["error_j"] > 0
    loaded = [load for load in entry["loads"] if load["bytes"] > 0]
    assert {load["node_id"] for load in loaded} <= {"1", "3", "5", "6"}
    assert "SDXL" in {load["model"] for load in loaded if load["node_id"] == "5"}
    told = {fallback["node_id"]: fallback["texts"] for fallback in entry["fallbacks"]}
    assert set(told) == {"2", "8"}
    assert told["2"][0].startswith("sdpa")
    assert "ran in place of sage_1: " in told["2"][0]
    assert "_attention ran in place of vae flash_attention_2: it needs an NVIDIA" in told["8"][0]
    file = comfy_server.base_directory / "user" / "wattbench" / "history.jsonl"
    assert SECRET not in file.read_text("utf-8")
    with urllib.request.urlopen(f"http://{comfy_server.client.address}{ROUTE}/page") as answer:
        page = answer.read().decode()
    assert prompt_id in page
    assert SECRET not in page


def test_a_prompt_that_measures_itself_has_times_alone(comfy_server, kept):
    graph = picture(time.time_ns() % 2**32, backend="comfyui")
    graph["6"]["class_type"] = "WattBenchVAEDecode"
    prompt_id = queue(comfy_server, graph)
    entry = until(lambda: kept(prompt_id))
    assert entry["energy_j"] is None
    assert any("among the runs" in note for note in entry["notes"])
    assert entry["time_s"] > 0


def test_switched_off_nothing_is_kept(comfy_server, kept):
    post(comfy_server, ROUTE, {"most": 0})
    off = queue(comfy_server, picture(time.time_ns() % 2**32))
    post(comfy_server, ROUTE, {"most": 10})
    on = queue(comfy_server, picture(time.time_ns() % 2**32))
    until(lambda: kept(on))
    assert kept(off) is None


@pytest.mark.parametrize(
    "body", [[], {}, {"most": True}, {"most": -1}, {"most": 1001}, {"most": "10"}, {"clear": 1}]
)
def test_a_wrong_body_is_refused(comfy_server, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(comfy_server, ROUTE, body)
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("most", "code"),
    [("1", 200), ("1000", 200), ("0", 400), ("1001", 400), ("9" * 5000, 400), ("-1", 400)],
)
def test_so_many_are_answered(comfy_server, most, code):
    address = f"http://{comfy_server.client.address}{ROUTE}?most={most}"
    try:
        with urllib.request.urlopen(address) as answer:
            assert (answer.status, code) == (200, 200)
            assert json.load(answer)["most"] == 0
    except urllib.error.HTTPError as error:
        assert error.code == code
