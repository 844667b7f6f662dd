"""Levers go into the wires where they belong, and nothing else of a graph changes."""

import copy

import pytest

from wattbench.study.levers import LEVERS, lever_named
from wattbench.study.wiring import ends_of, fresh_id, nodes_of, put_in

from .graphs import node, sdxl

LORA = node(
    "LoraLoader", model=["1", 0], clip=["1", 1], lora_name="a", strength_model=1, strength_clip=1
)


def graph():
    """Two samplers: one behind a LoRA, node 2; the other with the model itself, node 6."""
    first = sdxl(node("CheckpointLoaderSimple", ckpt_name="moth.safetensors"))
    inputs = {**first["5"]["inputs"], "positive": ["3", 0], "negative": ["3", 0]}
    second = {"class_type": "KSampler", "inputs": {**inputs, "latent_image": ["5", 0]}}
    return {
        "1": first["1"],
        "2": LORA,
        "3": node("CLIPTextEncode", clip=["2", 1], text="a moth"),
        "4": first["4"],
        "5": {"class_type": "KSampler", "inputs": {**inputs, "model": ["2", 0]}},
        "6": second,
        "7": node("VAEDecode", samples=["6", 0], vae=["1", 2]),
        "8": node("SaveImage", images=["7", 0], filename_prefix="x"),
    }


GRAPH = graph()


def wire(graph, node_id, name):
    """Class and id of what stands before an input, up to the node without one of that name."""
    found = []
    while isinstance(source := graph[node_id]["inputs"].get(name), list):
        node_id = source[0]
        found.append(graph[node_id]["class_type"])
    return found


def test_every_lever_has_its_node_in_the_pack(definitions):
    for lever in LEVERS:
        if lever.place != "server":
            assert lever.class_type in definitions
            names = definitions[lever.class_type].defaults()
            assert not lever.setting or lever.setting in names


def test_wires_end_at_samplers_and_not_at_loras(definitions):
    ends = ends_of(GRAPH, "MODEL", definitions)
    assert {source: [t.node_id for t in targets] for source, targets in ends.items()} == {
        ("2", 0): ["5"],
        ("1", 0): ["6"],
    }


def test_nodes_follow_each_other_in_the_order_of_the_levers(definitions):
    settings = (("compile", "default"), ("attention", "sdpa_math"), ("weights", "fp8"))
    nodes = nodes_of(settings, definitions)
    changed = put_in(GRAPH, nodes, definitions)
    assert wire(changed, "5", "model") == [
        "WattBenchCompile",
        "WattBenchAttentionBackend",
        "WattBenchQuantizeModel",
        "LoraLoader",
        "CheckpointLoaderSimple",
    ]
    assert wire(changed, "6", "model")[-1] == "CheckpointLoaderSimple"
    assert len(wire(changed, "6", "model")) == 4
    (chosen,) = [
        n["inputs"]["backend"]
        for n in changed.values()
        if n["class_type"] == "WattBenchAttentionBackend" and n["inputs"]["model"][0] in changed
    ][:1]
    assert chosen == "sdpa_math"


def test_nothing_else_changes(definitions):
    before = copy.deepcopy(GRAPH)
    changed = put_in(GRAPH, nodes_of((("attention", "auto"),), definitions), definitions)
    assert before == GRAPH
    for node_id, own in GRAPH.items():
        same = {k: v for k, v in changed[node_id]["inputs"].items() if k != "model"}
        assert same == {k: v for k, v in own["inputs"].items() if k != "model"}
    assert changed["2"] == GRAPH["2"]


def test_the_vaes_lever_goes_into_the_vaes_wire(definitions):
    changed = put_in(GRAPH, nodes_of((("vae_attention", "sdpa"),), definitions), definitions)
    assert wire(changed, "7", "vae") == ["WattBenchVAEAttention", "CheckpointLoaderSimple"]
    assert wire(changed, "5", "model") == wire(GRAPH, "5", "model")


def test_levers_of_the_server_have_no_node(definitions):
    assert nodes_of((("launch", "--disable-dynamic-vram"),), definitions) == []


def test_a_graph_without_a_model_is_refused(definitions):
    graph = {"1": {"class_type": "EmptyLatentImage", "inputs": {}}}
    with pytest.raises(ValueError, match="no MODEL wire"):
        put_in(graph, nodes_of((("attention", "auto"),), definitions), definitions)


def test_a_server_without_the_pack_is_named(definitions):
    without = {name: d for name, d in definitions.items() if not name.startswith("WattBench")}
    with pytest.raises(ValueError, match="no node WattBenchCompile"):
        nodes_of((("compile", "default"),), without)


@pytest.mark.parametrize(("ids", "expected"), [(["1", "7"], "8"), (["12:3"], "13"), (["a"], "1")])
def test_new_ids_are_free(ids, expected):
    assert fresh_id(dict.fromkeys(ids)) == expected


def test_an_unknown_lever_is_named():
    with pytest.raises(ValueError, match="unknown lever 'atention'"):
        lever_named("atention")
