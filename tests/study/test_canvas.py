"""A page's workflow with levers in it runs as the same graph in API format does."""

import json
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import pytest

from wattbench.hosts.remote.comfy_run import to_api_format
from wattbench.study.canvas import _box, _overlap, is_canvas, put_on_canvas
from wattbench.study.wiring import WIRES, ends_of, nodes_of, put_in

WORKFLOWS = Path(__file__).parents[2] / "workflows"
SETTINGS = (("weights", "fp8"), ("attention", "sdpa"), ("compile", "default"))
TEMPLATES = ("image_flux2_klein_text_to_image", "image_z_image_turbo", "default", "lora")


def shipped():
    return [WORKFLOWS / f"{name}.json" for name in ("probe_any_workflow", "measured_nodes")]


def templates():
    folder = files("comfyui_workflow_templates_json") / "templates"
    return [folder / f"{name}.json" for name in TEMPLATES if (folder / f"{name}.json").is_file()]


def chain(graph, node_id, name, wire, definitions):
    """Classes and widgets of what stands before an input, as far as levers reach."""
    found = []
    source = graph[node_id]["inputs"][name]
    while graph[source[0]]["class_type"].startswith("WattBench"):
        node = graph[source[0]]
        sockets = definitions[node["class_type"]].named(wire)
        if not sockets or node["class_type"] == "WattBenchSyntheticModel":
            break
        widgets = {k: v for k, v in node["inputs"].items() if not isinstance(v, list)}
        found.append((node["class_type"], widgets))
        source = node["inputs"][sockets[0]]
    return found, source


@pytest.mark.parametrize("path", [*shipped(), *templates()], ids=lambda path: path.name)
def test_the_page_runs_what_was_measured(path, definitions, comfy_server, tmp_path):
    workflow = json.loads(path.read_text("utf-8"))
    assert is_canvas(workflow)
    copy = tmp_path / "workflow.json"
    copy.write_text(json.dumps(workflow), "utf-8")
    graph = to_api_format(comfy_server.client, copy)
    nodes = nodes_of((*SETTINGS, ("vae_attention", "sdpa")), definitions)
    targets = [
        (wire, target)
        for wire in WIRES.values()
        for ends in ends_of(graph, wire, definitions).values()
        for target in ends
    ]
    assert {wire for wire, _ in targets} == {"MODEL", "VAE"}
    tuned = put_on_canvas(workflow, nodes, targets, definitions)
    copy.write_text(json.dumps(tuned), "utf-8")
    from_page = to_api_format(comfy_server.client, copy)
    expected = put_in(graph, nodes, definitions)
    for wire, target in targets:
        here = chain(from_page, target.node_id, target.input_name, wire, definitions)
        there = chain(expected, target.node_id, target.input_name, wire, definitions)
        assert here == there
        assert len(here[0]) >= (3 if wire == "MODEL" else 1)
    assert from_page.keys() >= graph.keys()


@pytest.mark.parametrize("path", [*shipped(), *templates()], ids=lambda path: path.name)
def test_new_nodes_cover_nothing(path, definitions, comfy_server, tmp_path):
    workflow = json.loads(path.read_text("utf-8"))
    copy = tmp_path / "workflow.json"
    copy.write_text(json.dumps(workflow), "utf-8")
    graph = to_api_format(comfy_server.client, copy)
    ends = ends_of(graph, "MODEL", definitions).values()
    targets = [("MODEL", target) for group in ends for target in group]
    tuned = put_on_canvas(workflow, nodes_of(SETTINGS, definitions), targets, definitions)
    levels = [tuned, *tuned.get("definitions", {}).get("subgraphs", [])]
    old = [workflow, *workflow.get("definitions", {}).get("subgraphs", [])]
    added = 0
    for level, before in zip(levels, old, strict=True):
        new_ids = {n["id"] for n in level["nodes"]} - {n["id"] for n in before["nodes"]}
        added += len(new_ids)
        for a, b in combinations(level["nodes"], 2):
            if new_ids & {a["id"], b["id"]}:
                assert not _overlap(_box(a), _box(b)), (a["type"], b["type"])
        ids = [n["id"] for n in level["nodes"]]
        assert len(ids) == len(set(ids))
    assert added >= len(SETTINGS)
