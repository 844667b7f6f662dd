"""The headless batch, by the real comfy-cli on a real ComfyUI."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from wattbench import cli, report
from wattbench.hosts.remote import batch as batch_module
from wattbench.hosts.remote import server as server_module
from wattbench.hosts.remote.server import find_comfyui
from wattbench.measure.protocol.journal import Journal
from wattbench.measure.recording.runs import new_run
from wattbench.records import Condition, Environment
from wattbench.report import read_runs

from ..servers import ON_CPU
from ..waiting import until

JOURNAL_PACK = Path(__file__).parent.parent / "data" / "journal_pack"


BENCHMARK_AND_ANOTHER = {
    "e": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255},
    },
    "t": {"class_type": "SaveImage", "inputs": {"images": ["e", 0], "filename_prefix": "a"}},
    "m": {
        "class_type": "WattBenchSyntheticModel",
        "inputs": {"architecture": "sdxl", "size": "tiny", "dtype": "fp32", "seed": 0},
    },
    "b": {
        "class_type": "WattBenchBenchmark",
        "inputs": {
            **{"model": ["m", 0], "clip": ["m", 1], "vae": ["m", 2], "positive": "a moth"},
            **{"negative": "", "seed": 3, "width": 64, "height": 64, "batch_size": 1},
            **{"steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"},
            **{"warmup_runs": 1, "repeats": 1, "idle_seconds": 0.0, "meter": "auto"},
        },
    },
    "s": {"class_type": "SaveImage", "inputs": {"images": ["b", 0], "filename_prefix": "b"}},
}
"""A benchmark whose pictures are saved, and a picture that it did not make."""


@pytest.fixture
def wattbench(journal_server, tmp_path, capsys):
    """Call ``wattbench run`` on the shared server; its exit code, output and error output."""

    def call(workflow, *options, out=tmp_path / "out"):
        code = cli.main(arguments(journal_server, workflow, out, *options))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def arguments(server, workflow, out, *options):
    return ["run", str(workflow), "--out", str(out), "--server", server.client.address, *options]


def test_tables_and_pictures_of_a_benchmark(wattbench, write_workflow, tmp_path):
    code, out, err = wattbench(write_workflow(repeats=2, seed=40, then="succeed"), "--repeats", "3")
    assert (code, err) == (0, "")
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert list(runs["seed"]) == [40, 41, 42]
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert list(summary["n"]) == [3]
    assert (tmp_path / "out" / "report.md").read_text("utf-8").startswith("# WattBench report")
    [picture] = (tmp_path / "out" / "pictures").iterdir()
    assert picture.name == "visit1_001_001.png"
    assert Image.open(picture).size == (64, 64)
    assert "it/s" in out
    assert str(tmp_path / "out" / "runs.csv") in out


def test_rows_and_pictures_of_a_real_pack_are_joined(comfy_server, tmp_path, capsys):
    """A picture that no run made is saved first, and is nobody's."""
    workflow, out = tmp_path / "workflow.json", tmp_path / "out"
    workflow.write_text(json.dumps(BENCHMARK_AND_ANOTHER), "utf-8")
    options = ["--repeats", "2", "--pue", "1.25"]
    assert cli.main(arguments(comfy_server, workflow, out, *options)) == 0
    assert "3 pictures in" in capsys.readouterr().out
    runs = read_runs(out / "runs.csv")
    repeats = runs[~runs["is_warmup"]]
    assert len(repeats) == 2
    assert set(runs[runs["is_warmup"]]["picture_file"]) == {""}
    for row in repeats.to_dict("records"):
        with Image.open(out / row["picture_file"]) as picture:
            values, prompt = picture.tobytes(), json.loads(picture.text["prompt"])
        assert hashlib.sha256(values).hexdigest() == row["picture_sha256"]
        assert prompt["b"]["_meta"]["wattbench_runs"][row["run_id"]] == row["picture_sha256"]
        assert row["energy_total_j"] == pytest.approx(1.25 * row["energy_j"])
        assert row["energy_total_scopes"] == "package (estimated)"


def test_a_workflow_that_does_not_repeat_is_queued_with_new_seeds(
    wattbench, write_workflow, tmp_path
):
    code, _, _ = wattbench(write_workflow("WattBenchCollect", seed=7), "--repeats", "2")
    assert code == 0
    assert list(pd.read_csv(tmp_path / "out" / "runs.csv")["seed"]) == [7, 8]
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 2


def test_without_repeats_a_workflow_runs_once_as_it_is(wattbench, write_workflow, tmp_path):
    code, _, _ = wattbench(write_workflow(repeats=2, seed=1, then="succeed"))
    assert code == 0
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 2


def test_ui_format_is_converted(wattbench, tmp_path):
    nodes = [
        ui_node(1, "EmptyImage", [], ["IMAGE"], [64, 64, 1, 255]),
        ui_node(2, "WattBenchBenchmark", ["image"], ["IMAGE"], [2, 90, "fixed", "succeed"]),
        ui_node(3, "SaveImage", ["images"], [], ["ui"]),
    ]
    nodes[0]["outputs"][0]["links"] = [1]
    nodes[1]["inputs"][0]["link"] = 1
    nodes[1]["outputs"][0]["links"] = [2]
    nodes[2]["inputs"][0]["link"] = 2
    links = [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]]
    path = tmp_path / "ui.json"
    path.write_text(json.dumps({"nodes": nodes, "links": links, "version": 0.4}), "utf-8")
    code, _, err = wattbench(path, "--repeats", "3")
    assert (code, err) == (0, "")
    assert list(pd.read_csv(tmp_path / "out" / "runs.csv")["seed"]) == [90, 91, 92]


def ui_node(number, kind, inputs, outputs, widgets):
    return {
        "id": number,
        "type": kind,
        "pos": [0, 0],
        "size": [200, 100],
        "flags": {},
        "order": number,
        "mode": 0,
        "inputs": [{"name": name, "type": "IMAGE", "link": None} for name in inputs],
        "outputs": [{"name": kind, "type": kind, "links": []} for kind in outputs],
        "properties": {},
        "widgets_values": widgets,
    }


def test_what_a_failing_workflow_measured_is_kept(wattbench, write_workflow, tmp_path):
    code, out, err = wattbench(write_workflow(repeats=2, seed=3, then="fail"))
    assert code == 1
    assert "failed: WattBenchBenchmark (node 2): asked to fail\n" in err
    assert "Traceback" not in err
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 2
    assert "it/s" in out


def measure_elsewhere(server):
    """What a user of the same server, or another server with the same output folder, does."""
    condition, environment = (
        kind(**dict.fromkeys((field.name for field in dataclasses.fields(kind)), ""))
        for kind in (Condition, Environment)
    )
    run = new_run(condition, environment, seed=1, visit=1, job_id="another")
    Journal(server.output_directory / "wattbench" / "journal.jsonl").append(run)


def test_ctrl_c_keeps_what_was_measured_and_frees_the_server(
    journal_server, write_workflow, tmp_path
):
    workflow = write_workflow(repeats=2, seed=3, then="wait")
    client, journal = journal_server.client, ("journal.jsonl", "wattbench")
    before = client.output_size(*journal)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "wattbench",
            *arguments(journal_server, workflow, tmp_path / "out"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "WattBenchBenchmark" in line:
            break
    until(lambda: client.output_from(*journal, before).count(b"\n") == 2)
    measure_elsewhere(journal_server)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "cancelled" in err
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 2
    assert client.get_json("/queue") == {"queue_running": [], "queue_pending": []}


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("step", ["read_runs", "append_runs"])
def test_a_signal_after_the_last_image_loses_nothing(
    step, wattbench, write_workflow, tmp_path, monkeypatch
):
    """While the journal is read, and while the tables are written."""
    module = {"read_runs": batch_module, "append_runs": report}[step]
    function = getattr(module, step)

    def interrupted(*args):
        signal.raise_signal(signal.SIGTERM)
        return function(*args)

    monkeypatch.setattr(module, step, interrupted)
    code, out, err = wattbench(write_workflow(repeats=2, seed=3, then="succeed"))
    assert code == 130
    assert "cancelled" in err
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 2
    assert "it/s" in out


def test_silent_server_times_out_and_is_freed(journal_server, wattbench, write_workflow, tmp_path):
    code, _, err = wattbench(write_workflow(repeats=1, seed=3, then="wait"), "--timeout", "5")
    assert code == 1
    assert "ws_timeout" in err
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 1
    assert journal_server.client.get_json("/queue")["queue_running"] == []


def test_unknown_node_is_named(wattbench, write_workflow):
    code, _, err = wattbench(write_workflow("WattBenchNoSuchNode"))
    assert code == 1
    assert "'WattBenchNoSuchNode' not found" in err
    assert "use --server" in err


def test_invalid_input_is_named(wattbench, write_workflow):
    code, _, err = wattbench(write_workflow(repeats=0, seed=1, then="succeed"))
    assert code == 1
    assert "repeats" in err


def test_cached_workflow_says_why_nothing_was_measured(wattbench, write_workflow, tmp_path):
    graph = json.loads(write_workflow("WattBenchCollect", seed=1).read_text("utf-8"))
    graph["3"]["inputs"]["images"] = ["1", 0]
    path = tmp_path / "unmeasured.json"
    path.write_text(json.dumps(graph), "utf-8")
    code, _, err = wattbench(path)
    assert code == 1
    assert "nothing was measured" in err


def test_missing_file(wattbench, tmp_path):
    code, _, err = wattbench(tmp_path / "nowhere.json")
    assert code == 2
    assert "nowhere.json cannot be read" in err


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is no JSON"), ("{}", "has no WattBench node")]
)
def test_file_that_is_no_measuring_workflow(wattbench, tmp_path, text, message):
    path = tmp_path / "other.json"
    path.write_text(text, "utf-8")
    code, _, err = wattbench(path)
    assert code == 2
    assert message in err


def test_unwritable_folder_is_refused_before_anything_runs(
    journal_server, wattbench, write_workflow, tmp_path
):
    (tmp_path / "file").touch()
    before = journal_server.client.output_size("journal.jsonl", "wattbench")
    workflow = write_workflow(repeats=1, seed=0, then="succeed")
    code, _, err = wattbench(workflow, out=tmp_path / "file" / "out")
    assert code == 2
    assert "cannot be written" in err
    assert journal_server.client.output_size("journal.jsonl", "wattbench") == before


def test_running_server_cannot_be_visited_afresh(wattbench, write_workflow):
    code, _, err = wattbench(write_workflow(), "--visits", "2")
    assert code == 2
    assert "fresh server process" in err


def test_running_server_cannot_get_other_arguments(wattbench, write_workflow):
    code, _, err = wattbench(write_workflow(), "--", "--lowvram")
    assert code == 2
    assert "already running" in err


def test_no_server_there(write_workflow, tmp_path, capsys):
    port = server_module.free_port()
    out = ["--out", str(tmp_path), "--server", f"127.0.0.1:{port}"]
    assert cli.main(["run", str(write_workflow()), *out]) == 1
    assert "no ComfyUI answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", (["run", "w", "--out", "o", "--server", "localhost:{}"], ["serve", "--port", "{}"])
)
@pytest.mark.parametrize("number", ["", "x", "0", "65536"])
def test_ports_are_checked(line, number, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main([part.format(number) for part in line])
    assert f"'{number}' is not a port from 1 to 65535" in capsys.readouterr().err


def test_out_is_required(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", "workflow.json"])
    assert "--out" in capsys.readouterr().err


@pytest.fixture
def own_pack(monkeypatch, tmp_path):
    """Servers that the command starts itself load a copy of the journal pack."""
    pack = tmp_path / "pack"
    shutil.copytree(JOURNAL_PACK, pack)
    comfyui = find_comfyui()
    monkeypatch.setattr(server_module, "PACK_ROOT", pack)
    return ["--comfyui", str(comfyui), "--device", "cpu", "--out", str(tmp_path / "out")]


def test_visits_are_fresh_processes_and_one_that_dies_loses_nothing(
    own_pack, write_workflow, tmp_path, capsys, monkeypatch
):
    rows_at_the_end = []
    end = server_module.ComfyServer.__exit__

    def ending(self, *error):
        rows_at_the_end.append(len(pd.read_csv(tmp_path / "out" / "runs.csv")))
        return end(self, *error)

    monkeypatch.setattr(server_module.ComfyServer, "__exit__", ending)
    workflow = write_workflow(repeats=1, seed=0, then="die in visit 2")
    line = ["run", str(workflow), *own_pack, "--visits", "3", "--repeats", "2", "--", *ON_CPU]
    assert cli.main(line) == 1
    printed = capsys.readouterr()
    assert "ComfyUI died while the workflow ran" in printed.err
    assert "taken over visit means" in printed.out
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert list(runs["visit"]) == [1, 1, 2, 2]
    assert rows_at_the_end == [2, 4], "tables are written before a server ends"
    assert [path.name for path in (tmp_path / "out" / "pictures").iterdir()] == [
        "visit1_001_001.png"
    ]
    logs = [(tmp_path / "out" / f"comfyui_visit{visit}.log") for visit in (1, 2)]
    assert all("Starting server" in log.read_text("utf-8") for log in logs)


def test_module_and_console_command_are_the_same():
    module = subprocess.run([sys.executable, "-m", "wattbench", "--help"], capture_output=True)
    script = Path(sys.executable).with_name("wattbench" + (".exe" if os.name == "nt" else ""))
    console = subprocess.run([str(script), "--help"], capture_output=True)
    assert module.returncode == 0
    assert module.stdout == console.stdout
