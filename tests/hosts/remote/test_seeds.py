"""The seed that ``wattbench run --repeats`` advances is the noise's, in the real ComfyUI."""

import json

import pytest

from wattbench import cli
from wattbench.report import read_runs

from ...study.graphs import node, sdxl, second_sampler

ADVANCED = {"add_noise": "enable", "start_at_step": 0, "end_at_step": 10000}


def probed(graph, latent="5"):
    """The graph with a probe on its model, and a collector of ``latent``."""
    for one in graph.values():
        if one["inputs"].get("model") == ["1", 0]:
            one["inputs"]["model"] = ["p", 0]
    graph["p"] = node("WattBenchProbeModel", model=["1", 0], meter="auto")
    graph["c"] = node("WattBenchCollect", **{"value": [latent, 0], "probes.probe0": ["p", 1]})
    graph["6"]["inputs"]["samples"] = ["c", 0]
    return graph


def with_seed(seed, **others):
    graph = sdxl()
    graph["5"]["inputs"]["seed"] = seed
    return probed({**graph, **others})


def advanced():
    graph = sdxl()
    graph["5"]["class_type"] = "KSamplerAdvanced"
    inputs = graph["5"]["inputs"]
    inputs.pop("denoise")
    inputs.update(ADVANCED, noise_seed=inputs.pop("seed"), return_with_leftover_noise="disable")
    return probed(graph)


def custom():
    graph = sdxl()
    inputs = graph["5"]["inputs"]
    for name in ("steps", "sampler_name", "scheduler", "denoise"):
        inputs.pop(name)
    inputs.update(noise_seed=inputs.pop("seed"), add_noise=True, sampler=["8", 0], sigmas=["9", 0])
    graph["5"]["class_type"] = "SamplerCustom"
    graph["8"] = node("KSamplerSelect", sampler_name="euler")
    schedule = {"scheduler": "normal", "steps": 2, "denoise": 1.0}
    graph["9"] = node("BasicScheduler", model=["1", 0], **schedule)
    return probed(graph)


def two_sources():
    return probed(second_sampler(sdxl(), ["1", 0]), "12")


def one_for_two():
    """Two samplers, and the weights, hang on one number."""
    graph = second_sampler(sdxl(), ["1", 0])
    graph["n"] = node("PrimitiveInt", value=1)
    for node_id, name in (("1", "seed"), ("5", "seed"), ("8", "noise_seed")):
        graph[node_id]["inputs"][name] = ["n", 0]
    return probed(graph, "12")


GRAPHS = {
    "typed": (lambda: with_seed(1), [1, 2]),
    "primitive": (lambda: with_seed(["n", 0], n=node("PrimitiveInt", value=1)), [1, 2]),
    "seed node": (lambda: with_seed(["n", 0], n=node("SeedNode", seed=1)), [1, 2]),
    "math": (
        lambda: with_seed(
            ["e", 1],
            n=node("PrimitiveInt", value=4),
            e=node("ComfyMathExpression", **{"expression": "a * 3", "values.a": ["n", 0]}),
        ),
        [12, 13],
    ),
    "at the end": (lambda: with_seed(2**64 - 1), [2**64 - 1, 0]),
    "advanced": (advanced, [1, 2]),
    "custom": (custom, [1, 2]),
    "two sources": (two_sources, [1, 2]),
    "one for two": (one_for_two, [1, 2]),
    "subgraph": (lambda: with_seed(["10:1", 0], **{"10:1": node("SeedNode", seed=1)}), [1, 2]),
}


@pytest.fixture
def run(comfy_server, tmp_path, capsys):
    """Run a graph with two repeats; the exit code, the rows, what was printed as an error."""

    def call(graph):
        workflow = tmp_path / "workflow.json"
        workflow.write_text(json.dumps(graph), "utf-8")
        out = ["--out", str(tmp_path / "out"), "--server", comfy_server.client.address]
        code = cli.main(["run", str(workflow), *out, "--repeats", "2"])
        table = tmp_path / "out" / "runs.csv"
        rows = read_runs(table).to_dict("records") if table.exists() else []
        return code, rows, capsys.readouterr().err

    return call


@pytest.mark.parametrize("name", GRAPHS)
def test_each_repeat_has_noise_of_its_own(run, name):
    make, seeds = GRAPHS[name]
    graph = make()
    # So that no other test's prompt stands in the server's cache.
    graph["2"]["inputs"]["text"] = name
    code, rows, err = run(graph)
    assert (code, err) == (0, "")
    assert [int(row["seed"]) for row in rows] == seeds
    assert len({row["condition_id"] for row in rows}) == 1
    assert len({row["picture_sha256"] for row in rows} - {""}) in (0, 2)
