"""Tuning in the real ComfyUI on the CPU: graphs as a user has them."""

import pytest

from wattbench.hosts.remote.comfy_run import to_api_format
from wattbench.study.levels import choose, parse_levers
from wattbench.study.measured import instrumented
from wattbench.study.pictures import Gallery
from wattbench.study.rig import RunningRig
from wattbench.study.search import BASELINE, Lever, Rule, Search
from wattbench.study.tune import Tuning

from .graphs import sdxl, second_sampler

PLAIN = sdxl()
ADVANCED = second_sampler(sdxl(), model=["1", 0])


@pytest.fixture
def rig(comfy_server, tmp_path):
    return RunningRig(comfy_server.client, tmp_path, 600)


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(PLAIN, marks=pytest.mark.soak("the one with two samplers has all of it")),
        ADVANCED,
    ],
    ids=["plain", "two samplers"],
)
def test_a_users_graph_is_measured_and_tuned(graph, rig, soaks):
    levers = (Lever("attention", ("sdpa_math",)),)
    blocks = 2 if soaks else 1
    rule = Rule(hopeless=1e9, helped=1e9, blocks_min=blocks, blocks_max=blocks)
    gallery = Gallery()
    tuning = Tuning(graph, rig, Search(levers, rule, 0), "s_per_img", 2, 1e9, gallery)
    tuning.run()
    assert tuning.search.faults == {}
    assert len(tuning.visits) == 2 * (2 + blocks)
    for visit in tuning.visits:
        for prompt in visit.prompts:
            assert prompt.error == ""
            assert prompt.time_s > 0
            assert prompt.energy_j > 0
            assert len(prompt.pictures) == 1
            (run,) = prompt.runs
            assert run.environment.host == "ComfyUI"
        executed = {call.executed for prompt in visit.prompts for call in prompt.kernel_calls}
        assert executed == (set() if visit.settings == BASELINE else {"sdpa_math"})
        assert visit.settings == BASELINE or visit.picture_share < 0.05
    assert {run.cell for run in tuning.runs()} == {"as it is", "attention=sdpa_math"}


def test_the_server_says_what_this_machine_can_try(rig):
    with rig.open((), "levers") as bench:
        levels = choose(bench.levers(), parse_levers([]), "s_per_img", own_servers=True)
        tried = {lever.name: lever.levels for lever in levels.levers}
    assert "sdpa" in tried["attention"]
    assert "launch" not in tried
    left_out = {(one.lever, one.level): one.reason for one in levels.left_out}
    assert "changes nothing on cpu" in left_out[("launch", "--disable-dynamic-vram")]
    assert left_out[("attention", "sage_2")]


def test_instruments_of_a_users_own_are_refused(rig):
    with rig.open((), "refused") as bench:
        graph = {**PLAIN, "9": {"class_type": "WattBenchWatchGraph", "inputs": {}}}
        with pytest.raises(ValueError, match="WattBenchWatchGraph"):
            instrumented(graph, bench.definitions)
        without = {node_id: PLAIN[node_id] for node_id in "12345"}
        with pytest.raises(ValueError, match="no output node"):
            instrumented(without, bench.definitions)


def test_a_graph_in_api_format_stays_as_it_is(comfy_server, tmp_path):
    import json

    path = tmp_path / "graph.json"
    path.write_text(json.dumps(PLAIN), "utf-8")
    graph = to_api_format(comfy_server.client, path)
    assert {k: v["inputs"] for k, v in graph.items()} == {k: v["inputs"] for k, v in PLAIN.items()}
