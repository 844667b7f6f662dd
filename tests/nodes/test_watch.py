"""Prompts are watched by ComfyUI's own executor, in this process, and on the real server."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from ..waiting import until
from .posting import post

NUMBER = {"required": {"number": ("INT", {"default": 0})}}
NUMBERS = itertools.count()
"""So that no two tests meet in the executor's cache."""


class Node:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return NUMBER


class Sleep(Node):
    slept_s = 0.0

    def run(self, number):
        began_s = time.perf_counter()
        time.sleep(0.05)
        Sleep.slept_s += time.perf_counter() - began_s
        return (number,)


class Changing(Sleep):
    """It is never cached: its key is not equal to itself."""

    @classmethod
    def IS_CHANGED(cls, number):  # noqa: N802
        return float("nan")


class Fail(Node):
    def run(self, number):
        raise ValueError("it fails")


class Wait(Node):
    async def run(self, number):
        await asyncio.sleep(0.1)
        return (number,)


class Expand(Node):
    def run(self, number):
        from comfy_execution.graph_utils import GraphBuilder

        graph = GraphBuilder()
        inner = graph.node("TestSleep", number=number)
        return {"result": (inner.out(0),), "expand": graph.finalize()}


class First(Node):
    """Takes its first input, and asks for the second only if told to."""

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        lazy = ("INT", {"lazy": True})
        return {"required": {"wants_second": ("BOOLEAN",), "first": lazy, "second": lazy}}

    def check_lazy_status(self, wants_second, first=None, second=None):
        return ["second" if wants_second else "first"]

    def run(self, wants_second, first=None, second=None):
        return (second if wants_second else first,)


class Listening(Node):
    """Tells whether ComfyUI has a cache provider while it runs."""

    def run(self, number):
        from comfy_execution.cache_provider import _has_cache_providers

        return (_has_cache_providers(),)


class Show(Node):
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    def run(self, number):
        return {"ui": {"numbers": [number]}}


class Server:
    """As much of ComfyUI's server as its executor calls."""

    client_id = None
    last_node_id = None

    def __init__(self):
        self.app = {}
        self.sent = []

    def send_sync(self, event, data, client_id=None):
        self.sent.append((event, data))

    def told(self, event):
        return [data for kind, data in self.sent if kind == event]


@pytest.fixture
def run(comfyui, workspace_folder, hundred_watts, monkeypatch):
    """A function that executes a graph, and answers the rows of its prompt by node."""
    import execution
    from server import PromptServer

    from wattbench.nodes.watch import WattBenchWatchGraph

    for kind in (Sleep, Changing, Fail, Wait, Expand, First, Show, Listening):
        monkeypatch.setitem(comfyui.NODE_CLASS_MAPPINGS, f"Test{kind.__name__}", kind)
    WattBenchWatchGraph.GET_SCHEMA()
    monkeypatch.setitem(comfyui.NODE_CLASS_MAPPINGS, "WattBenchWatchGraph", WattBenchWatchGraph)
    server = Server()
    monkeypatch.setattr(PromptServer, "instance", server, raising=False)
    monkeypatch.setattr(Sleep, "slept_s", 0.0)
    ram = {"ram": 0, "ram_inactive": 0, "lru": 0}

    def run(graph, executor=None, folder="wattbench"):
        executor = executor or execution.PromptExecutor(server, cache_args=ram)
        watch = {"folder": folder, "meter": hundred_watts}
        graph = {**graph, "watch": {"class_type": "WattBenchWatchGraph", "inputs": watch}}
        outputs = [
            node_id
            for node_id, node in graph.items()
            if node["class_type"] in ("TestShow", "WattBenchWatchGraph")
        ]
        prompt_id = f"prompt{next(NUMBERS)}"
        # In a thread, as in ComfyUI: browser tests leave an event loop running in this one.
        with ThreadPoolExecutor(1) as pool:
            prompt = json.loads(json.dumps(graph))
            pool.submit(
                executor.execute, prompt, prompt_id, {"client_id": "page"}, outputs
            ).result()
        ids = dict.fromkeys(("node_id", "parent_id", "display_id"), str)
        table = pd.read_csv(workspace_folder / "wattbench" / "nodes.csv", dtype=ids)
        return table[table["prompt_id"] == prompt_id].set_index("node_id")

    run.server = server
    run.executor = lambda kind=None: execution.PromptExecutor(
        server, cache_type=kind, cache_args=ram
    )
    run.cache_types = execution.CacheType
    return run


def node(kind, title="", **inputs):
    entry = {"class_type": f"Test{kind}", "inputs": inputs}
    return {**entry, "_meta": {"title": title}} if title else entry


def states(rows):
    return rows["state"].drop("watch").to_dict()


def remaining_s(run):
    """What is left of the last prompt beside the sleep in it: no other node can have more."""
    return run.server.told("wattbench_watch")[-1]["time_s"] - Sleep.slept_s


def test_each_node_has_its_time_and_energy(run):
    rows = run(
        {
            "1": node("Sleep", "My title", number=next(NUMBERS)),
            "2": node("Show", number=["1", 0]),
            "3": node("Sleep", number=0),
        }
    )
    assert states(rows) == {"1": "executed", "2": "executed", "3": "not_run"}
    slow = rows.loc["1"]
    assert (slow["class_type"], slow["title"]) == ("TestSleep", "My title")
    assert Sleep.slept_s <= slow["time_s"]
    assert slow["energy_j"] == pytest.approx(100 * slow["time_s"], rel=1e-3)
    assert slow["energy_method"] == "simulated"
    assert pd.isna(slow["peak_vram_bytes"])
    assert rows.loc["2", "time_s"] <= remaining_s(run)
    assert "VRAM: the model ran on the CPU" in slow["note"]
    assert pd.isna(rows.loc["3", "time_s"])
    assert rows.loc["3", "note"] == "nothing that ran needed it"


def test_the_page_that_queued_is_told(run):
    run({"1": node("Sleep", number=next(NUMBERS)), "2": node("Show", number=["1", 0])})
    (cost,) = run.server.told("wattbench_watch")
    by_id = {item["node_id"]: item for item in cost["nodes"]}
    assert by_id["1"]["time_s"] >= 0.05
    ran = [item for item in cost["nodes"] if item["time_s"] is not None]
    assert cost["energy_j"] == pytest.approx(100 * sum(item["time_s"] for item in ran), rel=1e-3)
    assert cost["time_s"] >= sum(item["time_s"] for item in ran)
    assert cost["file"] == "wattbench/nodes.csv"
    told = [data for data in run.server.told("executed") if "wattbench_watch" in data["output"]]
    executed = told[-1]
    assert (executed["node"], executed["output"]["wattbench_watch"]) == ("watch", [cost])


@pytest.mark.parametrize("kind", ["Sleep", "Fail"])
def test_comfyui_keeps_the_result_in_its_history(run, kind):
    executor = run.executor()
    run({"1": node(kind, number=next(NUMBERS)), "2": node("Show", number=["1", 0])}, executor)
    (cost,) = run.server.told("wattbench_watch")
    assert executor.history_result["outputs"]["watch"]["wattbench_watch"] == [cost]
    assert json.loads(json.dumps(cost))["nodes"]


def test_cached_nodes_are_reported_as_cached(run):
    executor = run.executor(run.cache_types.RAM_PRESSURE)
    graph = {
        "1": node("Sleep", number=next(NUMBERS)),
        "2": node("Sleep", number=["1", 0]),
        "3": node("Show", number=["2", 0]),
    }
    assert set(states(run(graph, executor)).values()) == {"executed"}
    assert set(states(run(graph, executor)).values()) == {"cached"}
    more = {**graph, "4": node("Changing", number=["1", 0]), "5": node("Show", number=["4", 0])}
    del more["3"]
    rows = run(more, executor)
    assert states(rows) == {"1": "cached", "2": "not_run", "4": "executed", "5": "executed"}
    assert rows.loc["1", ["time_s", "energy_j", "note"]].isna().all()


def test_nodes_that_are_never_cached_are_watched_too(run):
    executor = run.executor()
    graph = {"1": node("Changing", number=next(NUMBERS)), "2": node("Show", number=["1", 0])}
    for _ in range(2):
        assert states(run(graph, executor)) == {"1": "executed", "2": "executed"}


def test_without_a_cache_watching_begins_with_the_node(run):
    graph = {
        "1": node("Sleep", number=1),
        "2": node("Show", number=["1", 0]),
        "3": node("Sleep", number=2),
        "4": node("First", wants_second=False, first=["1", 0], second=["3", 0]),
        "5": node("Show", number=["4", 0]),
        "6": node("Show", number=6),
    }
    rows = run(graph, run.executor(run.cache_types.NONE))
    assert states(rows) == {**dict.fromkeys("12456", "executed"), "3": "not_run"}
    assert rows.loc["1", "time_s"] >= 0.05
    assert rows.loc["6", "note"] == "ran before the watching began"


def test_a_lazy_input_is_reported_as_it_was(run):
    executor = run.executor()
    graph = {
        "1": node("Sleep", number=next(NUMBERS)),
        "2": node("Sleep", number=next(NUMBERS)),
        "3": node("First", wants_second=False, first=["1", 0], second=["2", 0]),
        "4": node("Show", number=["3", 0]),
    }
    rows = run(graph, executor)
    assert states(rows) == {"1": "executed", "2": "not_run", "3": "executed", "4": "executed"}
    assert rows.loc["3", "time_s"] <= remaining_s(run)
    graph["3"]["inputs"]["wants_second"] = True
    assert states(run(graph, executor))["2"] == "executed"


def test_nodes_that_a_node_makes_have_it_as_their_parent(run):
    rows = run({"1": node("Expand", number=next(NUMBERS)), "2": node("Show", number=["1", 0])})
    (inner,) = (node_id for node_id in rows.index if node_id not in ("1", "2", "watch"))
    made = rows.loc[inner]
    assert (made["parent_id"], made["display_id"]) == ("1", "1")
    assert made["time_s"] >= Sleep.slept_s
    assert rows.loc["1", "time_s"] <= remaining_s(run)
    assert set(states(rows).values()) == {"executed"}


def test_a_node_of_a_subgraph_lies_in_it(run):
    rows = run({"7:1": node("Sleep", number=next(NUMBERS)), "2": node("Show", number=["7:1", 0])})
    assert rows.loc["7:1", "parent_id"] == "7"


def test_a_failed_node_is_reported_as_failed(run):
    rows = run(
        {
            "1": node("Sleep", number=next(NUMBERS)),
            "2": node("Fail", number=["1", 0]),
            "3": node("Show", number=["2", 0]),
        }
    )
    assert states(rows) == {"1": "executed", "2": "failed", "3": "not_run"}
    assert "failed or was cancelled" in rows.loc["2", "note"]
    assert rows.loc["3", "note"] == "the prompt ended before it"
    assert rows.loc["1", "energy_j"] > 0


def test_asynchronous_nodes_have_what_no_other_node_has(run):
    rows = run(
        {
            "1": node("Wait", number=next(NUMBERS)),
            "2": node("Wait", number=next(NUMBERS)),
            "3": node("Show", number=["1", 0]),
            "4": node("Show", number=["2", 0]),
        }
    )
    (cost,) = run.server.told("wattbench_watch")
    assert 0.08 <= rows["time_s"].sum() <= cost["time_s"], (
        "both waited in the same tenth of a second"
    )
    assert rows.loc["1", "time_s"] > 0
    assert rows.loc["2", "time_s"] > 0
    assert "ran beside other nodes" in rows.loc["1", "note"]


def test_the_sums_are_those_of_the_prompt(run):
    """No moment is counted twice, whatever the nodes do."""
    rows = run(
        {
            "1": node("Expand", number=next(NUMBERS)),
            "2": node("Wait", number=next(NUMBERS)),
            "3": node("First", wants_second=True, first=["1", 0], second=["2", 0]),
            "4": node("Show", number=["3", 0]),
            "5": node("Show", number=["1", 0]),
        }
    )
    (cost,) = run.server.told("wattbench_watch")
    assert rows["time_s"].sum() <= cost["time_s"]
    assert rows["energy_j"].sum() <= cost["energy_j"] * 1.001


def test_nothing_stays_behind(run):
    run({"1": node("Fail", number=next(NUMBERS)), "2": node("Show", number=["1", 0])})
    assert "wattbench-sampler" not in {thread.name for thread in threading.enumerate()}


def test_comfyui_hashes_no_cache_keys_for_it(run):
    """It does where there is a provider, and that takes seconds for a chain of 60 nodes."""
    from comfy_execution.cache_provider import _has_cache_providers

    from wattbench.hosts.comfyui.progress import EveryPrompt
    from wattbench.nodes.watch import GraphWatch

    graph = {"1": node("Listening", number=next(NUMBERS)), "2": node("Show", number=["1", 0])}
    run(graph)
    every = EveryPrompt(lambda: GraphWatch(meter="estimate"))
    every.switch(True)
    assert _has_cache_providers()
    try:
        graph["1"]["inputs"]["number"] = next(NUMBERS)
        run(graph)
        assert _has_cache_providers()
    finally:
        every.switch(False)
    assert not _has_cache_providers()
    shown = [
        data["output"]["numbers"] for data in run.server.told("executed") if data["node"] == "2"
    ]
    assert shown == [[False], [False]]


def test_a_folder_outside_is_refused_and_the_rest_runs_unwatched(run, workspace_folder):
    (workspace_folder / "wattbench").mkdir(parents=True)
    run({"1": node("Sleep", number=next(NUMBERS)), "2": node("Show", number=["1", 0])})
    run.server.sent.clear()
    run({"2": node("Show", number=next(NUMBERS))}, folder="../elsewhere")
    (error,) = run.server.told("execution_error")
    assert "outside of ComfyUI's output folder" in error["exception_message"]
    assert run.server.told("wattbench_watch") == []


def test_a_foreign_table_is_an_error_before_the_work(run, workspace_folder):
    folder = workspace_folder / "wattbench"
    folder.mkdir(parents=True)
    (folder / "nodes.csv").write_text("prompt_id,node_id\n", "utf-8")
    run({"1": node("Sleep", number=next(NUMBERS)), "2": node("Show", number=["1", 0])})
    (error,) = run.server.told("execution_error")
    assert "its columns differ" in error["exception_message"]
    (cost,) = run.server.told("wattbench_watch")
    assert cost["file"].startswith("not written")


def queue(server, graph):
    """Run a graph in API format; answers its prompt once it is over."""
    prompt_id = post(server, "/prompt", {"prompt": graph})["prompt_id"]
    history = until(lambda: server.client.get_json(f"/history/{prompt_id}"), 300, 0.05)
    assert history[prompt_id]["status"]["status_str"] == "success"
    return prompt_id


@pytest.mark.parametrize("body", [[], {}, {"every_prompt": 1}])
def test_a_wrong_body_is_refused(comfy_server, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(comfy_server, "/api/wattbench/watch", body)
    assert refused.value.code == 400


def test_the_setting_watches_prompts_without_the_node(comfy_server):
    table = comfy_server.output_directory / "wattbench" / "nodes.csv"
    image = {"width": 64, "height": 64, "batch_size": 1, "color": time.time_ns() % 2**24}
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }

    def switch(is_on):
        body = {"every_prompt": is_on}
        assert post(comfy_server, "/api/wattbench/watch", body) == body

    switch(True)
    try:
        watched, again = queue(comfy_server, graph), queue(comfy_server, graph)
    finally:
        switch(False)
    unwatched = queue(comfy_server, graph)
    rows = pd.read_csv(table)
    first = rows[rows["prompt_id"] == watched]
    assert dict(zip(first["class_type"], first["state"], strict=True)) == {
        "EmptyImage": "executed",
        "PreviewImage": "executed",
    }
    assert set(rows[rows["prompt_id"] == again]["state"]) == {"cached"}
    assert rows[rows["prompt_id"] == unwatched].empty
