"""What a batch changes in a workflow."""

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
        "1": node("KSampler", seed=10, steps=4),
        "2": node("RandomNoise", noise_seed=2**64 - 1),
        "3": node("KSampler", seed=["1", 0]),
        "4": node("WattBenchCollect"),
    }
    graphs = repeated(graph, 3)
    assert [g["1"]["inputs"]["seed"] for g in graphs] == [10, 11, 12]
    assert [g["2"]["inputs"]["noise_seed"] for g in graphs] == [2**64 - 1, 0, 1]
    assert all(g["3"]["inputs"]["seed"] == ["1", 0] for g in graphs)
    assert all(g["1"]["inputs"]["steps"] == 4 for g in graphs)


def test_no_two_graphs_of_a_sweep_have_the_same_seed():
    graph = {"1": node("KSampler", seed=10)}
    blocks = [repeated_in_block(graph, 2, block) for block in range(3)]
    seeds = [[g["1"]["inputs"]["seed"] for g in block] for block in blocks]
    assert seeds == [[10, 11, 12], [13, 14, 15], [16, 17, 18]]
