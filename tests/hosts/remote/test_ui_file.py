"""What a file in UI format says is what runs, or it is refused."""

import copy

import pytest

from wattbench.errors import CommandError
from wattbench.hosts.remote.comfy_run import to_api_format
from wattbench.hosts.remote.ui_file import checked

from ...in_prompt import case

SUB, TOP = "0a7b53f1-6d38-4a36-9d45-3bb0b2d6f001", "0a7b53f1-6d38-4a36-9d45-3bb0b2d6f002"
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


def in_subgraph(file, *, muted=False, depth=1):
    """The file with its node 6 within a subgraph (or within one of that), fed by the primitives."""
    file = copy.deepcopy(file)
    node = next(node for node in file["nodes"] if node["id"] == 6)
    names = [given["name"] for given in node["inputs"]]
    inside = [
        {
            "id": slot + 1,
            "origin_id": -10,
            "origin_slot": slot,
            "target_id": 6,
            "target_slot": slot,
            "type": given["type"],
        }
        for slot, given in enumerate(node["inputs"])
    ]
    outside = [{**link, "target_id": 60} for link in inside]
    own = {**node, "inputs": [{**g, "link": n + 1} for n, g in enumerate(node["inputs"])]}
    last = {
        "id": 99,
        "origin_id": 6,
        "origin_slot": 0,
        "target_id": -20,
        "target_slot": 0,
        "type": "LATENT",
    }
    own["outputs"] = [{**node["outputs"][0], "links": [99]}]
    inputs = [
        {"id": name, "name": name, "type": given["type"], "linkIds": [n + 1]}
        for n, (name, given) in enumerate(zip(names, node["inputs"], strict=True))
    ]
    outputs = [{"id": "out", "name": "LATENT", "type": "LATENT", "linkIds": [99]}]
    ends = {"inputNode": {"id": -10, "bounding": [0, 0, 9, 9]}}
    ends["outputNode"] = {"id": -20, "bounding": [0, 0, 9, 9]}
    common = {"inputs": inputs, "outputs": outputs, **ends, "version": 1, "groups": []}
    subgraphs = [{"id": SUB, "name": "s", "nodes": [own], "links": [*inside, last], **common}]
    if depth == 2:
        middle = {**own, "id": 60, "type": SUB, "widgets_values": []}
        links = [*outside, {**last, "origin_id": 60}]
        subgraphs.append({"id": TOP, "name": "t", "nodes": [middle], "links": links, **common})
    node["type"] = subgraphs[-1]["id"]
    node["mode"] = 2 if muted else 0
    node["widgets_values"] = []
    file["definitions"] = {"subgraphs": subgraphs}
    return file


@pytest.mark.parametrize(("depth", "place"), [(1, "6:6"), (2, "6:60:6")])
def test_a_value_goes_into_a_subgraph(file, depth, place):
    """A primitive outside, its input within."""
    graph = {place: copy.deepcopy(CONVERTED["6"])}
    inputs = checked(graph, in_subgraph(file, depth=depth))[place]["inputs"]
    assert (inputs["steps"], inputs["seed"]) == (6, 777)
    assert checked({}, in_subgraph(file, muted=True)) == {}


def test_a_subgraph_within_itself_or_without_the_input_is_refused(file):
    outer = in_subgraph(file)
    outer["definitions"]["subgraphs"][0]["inputs"] = []
    with pytest.raises(CommandError, match="node 6 has no input"):
        checked({"6:6": copy.deepcopy(CONVERTED["6"])}, outer)
    outer["definitions"]["subgraphs"][0]["nodes"][0]["type"] = SUB
    with pytest.raises(CommandError, match="holds itself"):
        checked({}, outer)


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
    for place, content in (
        ("6", file),
        ("6:6", in_subgraph(file)),
        ("6:60:6", in_subgraph(file, depth=2)),
    ):
        path.write_text(json.dumps(content), "utf-8")
        inputs = to_api_format(comfy_server.client, path)[place]["inputs"]
        assert (inputs["steps"], inputs["seed"]) == (6, 777)
