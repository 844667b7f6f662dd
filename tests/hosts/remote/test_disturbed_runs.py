"""What goes on in a real server besides a run stands in the run's row, and in doctor."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from wattbench import cli
from wattbench.cli.doctor import replaced_in
from wattbench.hosts.remote.server import ComfyServer, find_comfyui
from wattbench.report import read_runs

from ...in_prompt import CASES
from ...servers import ON_CPU
from ...study.graphs import node, sdxl
from ...waiting import until
from .test_seeds import probed

PACK = Path(__file__).parents[2] / "data" / "disturbing_pack"
REPLACED = "comfy.samplers.calc_cond_batch by ComfyUI-Faster"
STOPPED_S = 3.0


@pytest.fixture(scope="module")
def server(tmp_path_factory, bare_python):
    """A server with this pack, and another one that patches sampling."""
    base = tmp_path_factory.mktemp("disturbed")
    shutil.copytree(PACK, base / "custom_nodes" / "ComfyUI-Faster")
    with ComfyServer(
        find_comfyui(),
        base_directory=base,
        environment={"WATTBENCH_METER": "estimate"},
        arguments=ON_CPU,
        python=bare_python,
    ) as server:
        yield server


@pytest.fixture
def run_patched(server, tmp_path):
    """Run a sampling of a patched model twice; the exit code and the tables of runs."""

    def run(node, **inputs):
        graph = {
            "m": {
                "class_type": "WattBenchSyntheticModel",
                "inputs": {"architecture": "sdxl", "size": "tiny", "dtype": "fp32", "seed": 0},
            },
            "d": {"class_type": node, "inputs": {"model": ["m", 0], **inputs}},
            "p": {"class_type": "WattBenchProbeModel", "inputs": {"model": ["d", 0]}},
            "t": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["m", 1], "text": "a moth"}},
            "e": {
                "class_type": "EmptyLatentImage",
                "inputs": {"width": 64, "height": 64, "batch_size": 1},
            },
            "k": {
                "class_type": "KSampler",
                "inputs": {
                    **{"model": ["p", 0], "positive": ["t", 0], "negative": ["t", 0]},
                    **{"latent_image": ["e", 0], "seed": 1, "steps": 2, "cfg": 7.0},
                    **{"sampler_name": "euler", "scheduler": "normal", "denoise": 1.0},
                },
            },
            "c": {
                "class_type": "WattBenchCollect",
                "inputs": {"value": ["k", 0], "probes.probe0": ["p", 1]},
            },
            "x": {"class_type": "WattBenchExportCSV", "inputs": {"runs": ["c", 1], "folder": "x"}},
        }
        (tmp_path / "graph.json").write_text(json.dumps(graph), "utf-8")
        return cli.main(arguments(server, tmp_path / "graph.json", tmp_path, "--repeats", "2"))

    return run


def arguments(server, workflow, out, *options):
    return ["run", str(workflow), "--out", str(out), "--server", server.client.address, *options]


@pytest.mark.skipif(os.name == "nt", reason="no SIGSTOP")
def test_a_server_that_was_stopped_within_a_run_says_so_and_the_run_does_not_count(
    run_patched, tmp_path
):
    inside, gate = tmp_path / "inside", tmp_path / "gate"

    def stop_for_a_while():
        pid = int(until(lambda: inside.exists() and inside.read_text(), within_s=300))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(pid, signal.SIGCONT)
        gate.touch()

    stopping = threading.Thread(target=stop_for_a_while)
    stopping.start()
    assert run_patched("WaitInSampling", inside=str(inside), gate=str(gate)) == 0
    stopping.join()
    stopped, other = read_runs(tmp_path / "runs.csv").to_dict("records")
    stood_s = float(stopped["not_counted"].split("stood still for ")[1].removesuffix(" s"))
    assert stood_s > STOPPED_S - 1
    assert stopped["not_counted"] in stopped["flags"]
    assert other["not_counted"] == ""
    assert list(pd.read_csv(tmp_path / "summary.csv")["n"]) == [1]


def test_a_run_within_which_something_was_compiled_does_not_count(run_patched, tmp_path):
    assert run_patched("CompileInSampling") == 0
    first, second = read_runs(tmp_path / "runs.csv").to_dict("records")
    assert first["not_counted"] == "a model was compiled meanwhile"
    assert first["not_counted"] in first["flags"]
    assert second["not_counted"] == ""
    assert first["not_counted"] not in second["flags"]
    for row in (first, second):
        assert REPLACED in row["optimizations"]


def test_a_run_that_failed_is_one_too_few_and_that_is_an_error(server, tmp_path, capsys):
    """One forward a step: the third is in the second of three runs, after none that warms up."""
    settings = {"width": 64, "height": 64, "batch_size": 1, "steps": 2, "cfg": 1.0}
    sampling = {"sampler_name": "euler", "scheduler": "normal", "warmup_runs": 0, "repeats": 1}
    graph = {
        "m": node(
            "WattBenchSyntheticModel", architecture="sdxl", size="tiny", dtype="fp32", seed=0
        ),
        "f": node("FailInSampling", model=["m", 0], at=3),
        "b": node(
            "WattBenchBenchmark",
            **{
                "model": ["f", 0],
                "clip": ["m", 1],
                "vae": ["m", 2],
                "positive": "",
                "negative": "",
            },
            **{"seed": 3, "idle_seconds": 0.0, "meter": "auto", **settings, **sampling},
        ),
        "s": node("SaveImage", images=["b", 0], filename_prefix="b"),
    }
    (tmp_path / "graph.json").write_text(json.dumps(graph), "utf-8")
    line = arguments(server, tmp_path / "graph.json", tmp_path, "--repeats", "3")
    assert cli.main(line) == 1
    said = "fewer runs than were asked for: visit 1 measured 2 of 3 runs (one failed: "
    printed = capsys.readouterr().err
    assert said in printed
    assert "planted fault" in printed
    rows = read_runs(tmp_path / "runs.csv")
    assert list(rows["error"] != "") == [False, True, False]


def test_seeds_of_a_list_advance_together(server, tmp_path):
    """Twice two samplings; what the node makes of its own number stays its own."""
    graph = probed({**sdxl(), "l": node("SeedList", seed=1)})
    graph["5"]["inputs"]["seed"] = ["l", 0]
    (tmp_path / "graph.json").write_text(json.dumps(graph), "utf-8")
    line = arguments(server, tmp_path / "graph.json", tmp_path, "--repeats", "2")
    assert cli.main(line) == 0
    rows = read_runs(tmp_path / "runs.csv")
    assert list(rows["sampling_count"]) == [2, 2]
    assert list(rows["seed"]) == [10, 11]


def test_doctor_names_what_another_pack_has_replaced(server, capsys):
    address = server.client.address
    assert cli.main(["doctor", "--server", address]) == 0
    printed = capsys.readouterr().out
    assert "Sampling in a running ComfyUI\n  no  comfy.samplers.calc_cond_batch " in printed
    assert "why: replaced by ComfyUI-Faster" in printed


def test_doctor_says_where_all_is_comfyuis_own_and_where_nobody_answers(comfy_server):
    client = comfy_server.client
    [own] = replaced_in(client.host, client.port)
    assert own.available
    [nobody] = replaced_in("127.0.0.1", 9)
    assert "no ComfyUI answers at 127.0.0.1:9" in nobody.reason
    assert "--server" in nobody.remedy


def test_a_page_s_primitive_nodes_give_their_values(server, tmp_path):
    """In the widgets behind them stand 4 steps and seed 13."""
    workflow = CASES / "primitive_ui.json"
    assert cli.main(arguments(server, workflow, tmp_path)) == 0
    [row] = read_runs(tmp_path / "runs.csv").to_dict("records")
    assert (row["steps_made"], row["seed"]) == (6, 777)
