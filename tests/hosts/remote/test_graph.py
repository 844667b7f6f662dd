"""What a batch changes in a workflow."""

import pytest

from wattbench.errors import UsageError
from wattbench.hosts.remote.graph import repeated, repeated_in_block


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def test_benchmark_node_repeats_by_itself():
    graph = {"1": node("WattBenchBenchmark", repeats=2, seed=5), "2": node("SaveImage")}
    [changed] = repeated(graph, 7)
    assert changed["1"]["inputs"] == {"repeats": 7, "seed": 5}
    assert graph["1"]["inputs"]["repeats"] == 2


def test_other_workflows_are_queued_with_advanced_seeds():
    graph = {
        "1": node("KSampler", seed=10, steps=4, model=["9", 0]),
        "2": node("RandomNoise", noise_seed=2**64 - 1),
        "4": node("WattBenchCollect"),
    }
    graphs = repeated(graph, 3)
    assert [g["1"]["inputs"]["seed"] for g in graphs] == [10, 11, 12]
    assert [g["2"]["inputs"]["noise_seed"] for g in graphs] == [2**64 - 1, 0, 1]
    assert all(g["1"]["inputs"]["steps"] == 4 for g in graphs)
    assert graph["1"]["inputs"]["seed"] == 10


def test_the_seed_of_random_weights_stays():
    graph = {
        "m": node("WattBenchSyntheticModel", architecture="sdxl", seed=0),
        "k": node("KSampler", seed=10, model=["m", 0]),
    }
    graphs = repeated(graph, 3)
    assert [g["m"]["inputs"]["seed"] for g in graphs] == [0, 0, 0]
    assert [g["k"]["inputs"]["seed"] for g in graphs] == [10, 11, 12]


@pytest.mark.parametrize("through", [(), ("Reroute",), ("Reroute", "Reroute")])
def test_a_seed_is_followed_over_its_wire(through):
    graph = {"p": node("PrimitiveInt", value=777)}
    last = "p"
    for number, kind in enumerate(through):
        graph[f"r{number}"] = node(kind, any=[last, 0])
        last = f"r{number}"
    graph["m"] = node("WattBenchSyntheticModel", seed=[last, 0])
    graph["k"] = node("KSampler", seed=[last, 0], model=["m", 0])
    graphs = repeated(graph, 3)
    assert [g["k"]["inputs"]["seed"] for g in graphs] == [777, 778, 779]
    assert all(g["p"] == graph["p"] for g in graphs)


@pytest.mark.parametrize(
    "source",
    [
        node("Sum", a=1, b=2),
        node("Sum", a=["k", 0], b=2),
        node("Text", text="777"),
        node("Seed", seed=-1),
        node("Switch", on=True),
        node("Loop", value=["s", 0]),
    ],
)
def test_a_seed_whose_number_is_unknown_is_refused(source):
    graph = {"s": source, "k": node("KSampler", seed=["s", 0], model=["m", 0])}
    with pytest.raises(UsageError, match="seed of node k"):
        repeated(graph, 3)


def test_no_two_graphs_of_a_sweep_have_the_same_seed():
    graph = {"1": node("KSampler", seed=10, model=["2", 0])}
    blocks = [repeated_in_block(graph, 2, block) for block in range(3)]
    seeds = [[g["1"]["inputs"]["seed"] for g in block] for block in blocks]
    assert seeds == [[10, 11, 12], [13, 14, 15], [16, 17, 18]]
