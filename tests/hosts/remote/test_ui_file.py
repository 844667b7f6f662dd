"""What a file in UI format says is what runs, or it is refused."""

import copy

import pytest

from wattbench.errors import CommandError
from wattbench.hosts.remote.comfy_run import to_api_format
from wattbench.hosts.remote.ui_file import checked

from ...in_prompt import case

CONVERTED = {"6": {"class_type": "KSampler", "inputs": {"steps": 4, "seed": 13}}}


@pytest.fixture
def file():
    """Two primitives, for steps (6) and seed (777) of node 6; as widgets it has 4 and 13."""
    return case("primitive_ui")


def test_values_of_primitives_are_what_runs(file):
    inputs = checked(CONVERTED, file)["6"]["inputs"]
    assert (inputs["steps"], inputs["seed"]) == (6, 777)
    assert CONVERTED["6"]["inputs"]["steps"] == 4


def test_a_value_goes_through_a_reroute(file):
    link = next(link for link in file["links"] if link[1] == 11)
    reroute = {"id": 99, "type": "Reroute", "inputs": [{"name": "", "type": "*"}], "mode": 0}
    file["nodes"].append(reroute)
    file["links"].append([98, 99, 0, link[3], link[4], "INT"])
    link[3], link[4] = 99, 0
    assert checked(CONVERTED, file)["6"]["inputs"]["steps"] == 6


def test_a_value_within_a_subgraph_has_its_place(file):
    inner = {"id": "sub", "nodes": file["nodes"], "links": file["links"]}
    outer = {
        "nodes": [{"id": 50, "type": "sub", "mode": 0}],
        "links": [],
        "definitions": {"subgraphs": [inner]},
    }
    graph = {"50:6": copy.deepcopy(CONVERTED["6"])}
    assert checked(graph, outer)["50:6"]["inputs"]["steps"] == 6


@pytest.mark.parametrize("damage", ["no such node", "no value"])
def test_a_value_without_a_place_is_refused(file, damage):
    graph = {} if damage == "no such node" else CONVERTED
    if damage == "no value":
        next(node for node in file["nodes"] if node["id"] == 11)["widgets_values"] = []
    with pytest.raises(CommandError, match="primitive node 11 for steps of node 6"):
        checked(graph, file)


def test_a_muted_node_needs_no_value(file):
    next(node for node in file["nodes"] if node["id"] == 6)["mode"] = 2
    assert checked({}, file) == {}


def test_a_wire_that_is_not_in_the_graph_is_refused(file):
    graph = copy.deepcopy(CONVERTED)
    graph["2"] = {"class_type": "WattBenchProbeModel", "inputs": {}}
    graph["6"]["inputs"]["model"] = ["2", 0]
    assert checked(graph, file)["6"]["inputs"]["model"] == ["2", 0]
    graph["6"]["inputs"]["model"] = ["1", 0]
    with pytest.raises(CommandError, match="model of node 6"):
        checked(graph, file)


def test_the_file_runs_as_it_says(comfy_server, tmp_path, file):
    import json

    path = tmp_path / "primitive.json"
    path.write_text(json.dumps(file), "utf-8")
    graph = to_api_format(comfy_server.client, path)
    assert (graph["6"]["inputs"]["steps"], graph["6"]["inputs"]["seed"]) == (6, 777)
