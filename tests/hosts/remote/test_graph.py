"""What a batch changes in a workflow, and whether it measured as much as was asked for."""

from dataclasses import replace

import pytest

from wattbench.errors import UsageError
from wattbench.hosts.remote.definitions import Definition, Input
from wattbench.hosts.remote.graph import repeated, repeated_in_block, too_few

SUM = "ComfyMathExpression"


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def kind(class_type, *outputs, **inputs):
    made = tuple(Input(name, "INT", 0, True, True, **facts) for name, facts in inputs.items())
    return {class_type: Definition(class_type, made, outputs)}


def test_benchmark_node_repeats_by_itself():
    graph = {"1": node("WattBenchBenchmark", repeats=2, seed=5), "2": node("SaveImage")}
    [changed] = repeated(graph, 7, {})
    assert changed["1"]["inputs"] == {"repeats": 7, "seed": 5}
    assert graph["1"]["inputs"]["repeats"] == 2


def test_other_workflows_are_queued_with_advanced_seeds():
    graph = {
        "1": node("KSampler", seed=10, steps=4, model=["9", 0]),
        "2": node("RandomNoise", noise_seed=2**64 - 1),
        "4": node("WattBenchCollect"),
    }
    graphs = repeated(graph, 3, {})
    assert [g["1"]["inputs"]["seed"] for g in graphs] == [10, 11, 12]
    assert [g["2"]["inputs"]["noise_seed"] for g in graphs] == [2**64 - 1, 0, 1]
    assert all(g["1"]["inputs"]["steps"] == 4 for g in graphs)
    assert graph["1"]["inputs"]["seed"] == 10


@pytest.mark.parametrize("wire", [{}, {"seed": ["p", 0]}, {"architecture": ["t", 0]}])
def test_the_seed_of_random_weights_stays(wire):
    """Also where it hangs on the noise's own wire, or something else of it on another."""
    model = node("WattBenchSyntheticModel", **{"architecture": "sdxl", "seed": 0, **wire})
    graph = {
        "p": node("PrimitiveInt", value=10),
        "t": node("PrimitiveString", value="sdxl"),
        "m": model,
        "k": node("KSampler", seed=["p", 0], model=["m", 0]),
    }
    graphs = repeated(graph, 3, kind("WattBenchSyntheticModel", "MODEL", "CLIP", "VAE"))
    assert [g["m"] for g in graphs] == [model] * 3
    assert [g["p"] for g in graphs] == [graph["p"]] * 3
    assert [g["k"]["inputs"]["seed"] for g in graphs] == [10, 11, 12]


@pytest.mark.parametrize(
    ("outputs", "changes"),
    [
        (("CONDITIONING",), False),
        (("STRING",), False),
        (("MODEL", "CLIP", "CONDITIONING", "STRING"), False),
        (("IMAGE",), True),
        (("SAMPLER",), True),
        (("MODEL", "LATENT", "VAE"), True),
        ((), True),
    ],
)
def test_what_a_seed_draws_is_told_by_what_its_node_gives(outputs, changes):
    """Wildcards in a prompt stay; what samples, adds grain or saves at once changes."""
    graphs = repeated({"1": node("X", seed=3, x=["0", 0])}, 2, kind("X", *outputs))
    assert [g["1"]["inputs"]["seed"] for g in graphs] == [3, 4 if changes else 3]


@pytest.mark.parametrize(("output", "second"), [("LATENT", 4), ("NOISE", 4), ("IMAGE", 3)])
def test_a_node_that_takes_nothing_draws_noise_or_chooses_a_file(output, second):
    graphs = repeated({"1": node("X", seed=3)}, 2, kind("X", output))
    assert graphs[1]["1"]["inputs"]["seed"] == second


@pytest.mark.parametrize(
    ("name", "drawn", "second"),
    [("variation_seed", True, 4), ("top_k", True, 3), ("variation_seed", False, 3)],
)
def test_a_seed_by_another_name_is_told_by_its_control_after_generate(name, drawn, second):
    known = kind("X", "LATENT", **{name: {"is_drawn": drawn}})
    graphs = repeated({"1": node("X", **{name: 3}, model=["0", 0])}, 2, known)
    assert graphs[1]["1"]["inputs"][name] == second


def test_a_seed_begins_again_at_the_end_of_its_input():
    known = kind("K", "LATENT", seed={"maximum": 2**32 - 1})
    graphs = repeated({"1": node("K", seed=2**32 - 2, model=["0", 0])}, 4, known)
    assert [g["1"]["inputs"]["seed"] for g in graphs] == [2**32 - 2, 2**32 - 1, 0, 1]


@pytest.mark.parametrize("given", [7, 7.0, "7", " 7"])
def test_what_a_server_takes_for_a_number_is_one(given):
    graphs = repeated({"1": node("K", seed=given, model=["0", 0])}, 2, {})
    assert [g["1"]["inputs"]["seed"] for g in graphs] == [7, 8]


@pytest.mark.parametrize("given", [-1, "-1", 7.5, "seven", None, True])
def test_what_cannot_be_counted_on_from_is_refused(given):
    with pytest.raises(UsageError, match=r"seed of node 1 is .*Type a number from 0 on"):
        repeated({"1": node("K", seed=given, model=["0", 0])}, 2, {SUM: None})


SOURCES = [node("PrimitiveInt", value=777), node("SeedNode", seed=777, control="fixed")]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("through", [(), ("Reroute",), ("Reroute", "Reroute")])
def test_a_seed_is_followed_over_its_wire(source, through):
    graph = {"p": source}
    last = "p"
    for number, name in enumerate(through):
        graph[f"r{number}"] = node(name, **{"": [last, 0]})
        last = f"r{number}"
    graph["k"] = node("KSampler", seed=[last, 0], model=["m", 0])
    graph["l"] = node("KSamplerAdvanced", noise_seed=[last, 0], model=["m", 0])
    graphs = repeated(graph, 3, {})
    assert [g["k"]["inputs"]["seed"] for g in graphs] == [777, 778, 779]
    assert [g["l"]["inputs"]["noise_seed"] for g in graphs] == [777, 778, 779]
    assert all(g["p"] == graph["p"] for g in graphs)


UNKNOWN = [
    node("Sum", a=1, b=2),
    node("Half", seed=2),
    node(SUM, expression="a * 2", **{"values.a": ["p", 0]}),
    node("Text", text="777"),
    node("Switch", on=True),
    node("Loop", value=["s", 0]),
    node("Reroute", any=["s", 0]),
    node("SeedList", seeds="1, 2, 3"),
]


@pytest.mark.parametrize("source", UNKNOWN)
def test_to_a_number_that_another_node_makes_the_server_adds(source):
    """What that node makes of its own inputs, and how many numbers, is not guessed."""
    graph = {
        "p": node("PrimitiveInt", value=5),
        "s": source,
        "k": node("KSampler", seed=["s", 1], model=["m", 0]),
    }
    first, *others = repeated(graph, 3, {SUM: None})
    assert first == graph
    for by, changed in enumerate(others, 1):
        node_id, output = changed["k"]["inputs"]["seed"]
        assert output == 1
        assert changed[node_id]["class_type"] == SUM
        assert changed[node_id]["inputs"] == {"expression": f"a + {by}", "values.a": ["s", 1]}
        assert {key: changed[key] for key in ("p", "s")} == {"p": graph["p"], "s": source}


@pytest.mark.parametrize("source", UNKNOWN)
def test_a_seed_whose_number_is_unknown_is_refused_where_the_server_cannot_add(source):
    graph = {"s": source, "k": node("KSampler", seed=["s", 0], model=["m", 0])}
    with pytest.raises(UsageError, match=rf"seed of node k .*comes from node s.* no {SUM}"):
        repeated(graph, 3, {})


def test_no_two_graphs_of_a_sweep_have_the_same_seed():
    graph = {"1": node("KSampler", seed=10, model=["2", 0])}
    blocks = [repeated_in_block(graph, 2, block, {}) for block in range(3)]
    seeds = [[g["1"]["inputs"]["seed"] for g in block] for block in blocks]
    assert seeds == [[10, 11, 12], [13, 14, 15], [16, 17, 18]]


PROBED = {"k": node("KSampler", seed=1, model=["m", 0]), "c": node("WattBenchCollect")}


@pytest.fixture
def runs(make_run):
    def make(*jobs, **changes):
        return [make_run(str(number), job_id=job, **changes) for number, job in enumerate(jobs)]

    return make


def test_every_prompt_gives_a_run(runs):
    graphs = repeated(PROBED, 3, {})
    assert too_few(graphs, runs("a", "b", "c")) == ""
    assert too_few(graphs, runs("a", "b")).startswith("2 of 3 runs (others came from ComfyUI's ")
    assert too_few(graphs, []).startswith("0 of 3 runs (")


def test_of_two_things_measured_in_a_prompt_both_are_asked_for(runs):
    graphs = repeated(PROBED, 2, {})
    assert too_few(graphs, runs("a", "a", "b", "b")) == ""
    assert too_few(graphs, runs("a", "a", "b")).startswith("3 of 4 runs (")


def test_a_run_that_failed_was_not_measured_and_a_warm_up_is_none(runs):
    graphs = repeated(PROBED, 2, {})
    made = runs("a", "b")
    failed = [made[0], replace(made[1], error="out of memory")]
    assert too_few(graphs, failed) == "1 of 2 runs (one failed: out of memory)"
    assert too_few(graphs, [made[0], replace(made[1], is_warmup=True)]).startswith("1 of 2 runs")
    doubtful = [made[0], replace(made[1], not_counted="stood still for 12 s")]
    assert too_few(graphs, doubtful) == "", "its row says why it does not count"


def test_benchmarks_are_asked_for_what_they_say(runs):
    graph = {
        "1": node("WattBenchBenchmark", repeats=2),
        "2": node("WattBenchBenchmark", repeats=["p", 0]),
    }
    assert too_few([graph], runs("a", "a", "a")) == ""
    assert too_few([graph], runs("a", "a")).startswith("2 of 3 runs")
    asked = repeated(graph, 3, {})
    assert too_few(asked, runs(*"aaaaaa")) == ""
    assert too_few(asked, runs(*"aaaaa")).startswith("5 of 6 runs")
