"""The whole way on this machine without Ray: a real matrix on a real ComfyUI, pulled and merged."""

import json

import pandas as pd
import pytest

from wattbench import cli
from wattbench.hosts.remote.server import find_comfyui
from wattbench.sharing.merge import runs_of

PLAN = """
name = "real"
[[workload]]
workflow = "quickstart"
[axes]
size = [64]
steps = [1]
[run]
warmup = 0
repeats = 1
[stop]
blocks_min = 1
blocks_max = 1
"""


@pytest.mark.soak(
    "half a minute; test_fleet.py has a fleet without ComfyUI, test_matrix_kills.py a matrix"
)
def test_a_plan_is_carried_out_here_and_its_folder_merges(tmp_path, monkeypatch, capsys):
    # A machine with a GPU hides it: what is tested is the way, not the card.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("COMFYUI_PATH", str(find_comfyui()))
    plan, out = tmp_path / "real.toml", tmp_path / "out"
    plan.write_text(PLAN, "utf-8")
    given = ["fleet", "run", str(plan), "--out", str(out), "--here", "--json", "--wait", "0"]
    given += ["--device", "cpu", "--estimate-if-unmetered", "--", "--cache-classic"]
    code = cli.main(given)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0, events
    assert [event["event"] for event in events] == ["card", "begins", "block", "end"]
    runs = pd.read_csv(out / "runs.csv")
    assert len(runs) == 1
    assert runs["cell"].tolist() == ["quickstart: size=64, steps=1"]
    [card] = (out / "cards").iterdir()
    assert len(runs_of(card)) == 1
    assert "estimated" in (out / "fleet.md").read_text("utf-8")
    assert cli.main(["merge", str(card), "--out", str(tmp_path / "all")]) == 0
    assert pd.read_csv(tmp_path / "all" / "runs.csv")["run_id"].tolist() == runs["run_id"].tolist()
