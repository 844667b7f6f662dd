"""``wattbench matrix``: plans by name, and what it tells people and programs."""

import argparse
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from wattbench.cli.matrix import PLANS, WORKFLOWS, begin, carry_out, find_plan
from wattbench.cli.matrix_progress import Progress, hours_of
from wattbench.errors import CommandError, UsageError
from wattbench.report import append_runs
from wattbench.study.cells import ready
from wattbench.study.measured import Prompt
from wattbench.study.plan import read_plan
from wattbench.study.visits import JOURNAL, read_visits

from ..study.made_rig import MadeRig

SHIPPED = sorted(
    path.relative_to(PLANS).with_suffix("").as_posix() for path in PLANS.rglob("*.toml")
)
TEXT = """
name = "small"
[[workload]]
name = "moth"
workflow = "moth"
[axes]
attention = ["as_is", "sdpa", "sage_3"]
[run]
repeats = 2
"""


@pytest.fixture
def small(tmp_path, make_run):
    (tmp_path / "moth.json").write_text("{}", "utf-8")
    path = tmp_path / "small.toml"
    path.write_text(TEXT, "utf-8")
    plan = read_plan(path, tmp_path)
    return plan, ready(plan, MadeRig(make_run), lambda cap_w: "")


def test_every_plan_is_shipped_in_a_tiny_form_too():
    whole = {name for name in SHIPPED if "/" not in name}
    assert whole == {"attention", "weights", "edge_nodes", "quantization", "energy_law"}
    assert {name.removeprefix("tiny/") for name in SHIPPED if "/" in name} == whole


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_plan_is_found_by_its_name_and_read(name):
    plan = read_plan(find_plan(name), WORKFLOWS)
    assert plan.name == name.replace("/", "_")
    assert plan.cells()
    assert plan.stop.blocks_min >= (1 if name.startswith("tiny/") else 3)


def test_a_file_goes_before_a_shipped_plan_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_plan("attention").parent == PLANS
    Path("attention").write_text(TEXT, "utf-8")
    assert find_plan("attention") == Path("attention")
    with pytest.raises(UsageError, match="there is no plan wieghts; did you mean 'weights'"):
        find_plan("wieghts")


def test_the_cells_the_runs_and_the_hours_are_told_before(small, capsys):
    plan, found = small
    Progress(is_json=False).plan(plan, found, 15.0)
    text = capsys.readouterr().out
    assert "moth: attention=as_is (baseline)" in text
    assert "not here: moth: attention=sage_3: needs a Blackwell card" in text
    assert "2 cells, 5 to 12 blocks, until every ratio is known within 2.0%" in text
    assert "20 to 48 runs that count, 2 in each visit after 1 warm-up" in text
    assert "about 0.29 to 0.7 h, if an image takes 30 s" in text
    assert hours_of(plan, 2, 15.0, 5) == pytest.approx(5 * 2 * (15 + 3 * 30) / 3600)


EVENTS = (
    {"event": "visit", "cell": "moth", "block": 1, "visit": 2, "of": 10, "left_s": 480.0},
    {"event": "image", "image": 1, "of": 3},
    {"event": "visited", "cell": "moth", "s_per_img": 1.5, "j_per_img": 210.0, "error": ""},
)


def test_events_are_a_line_each_when_piped(capsys):
    progress = Progress(is_json=False)
    progress.say("waiting for ComfyUI, 5 s: loading")
    for event in EVENTS:
        progress.tell(event)
    progress.tell({**EVENTS[2], "error": "ComfyUI died"})
    where = "visit 2/10, block 1, 8 min left: moth"
    assert capsys.readouterr().out.splitlines() == [
        "waiting for ComfyUI, 5 s: loading",
        f"{where}: 1.5 s/img, 210 J/img",
        f"{where}: ComfyUI died",
    ]


def test_events_stay_in_place_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((80, 24)))
    clock = iter([10.0, 12.0])
    own_time = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("wattbench.cli.matrix_progress.time", own_time)
    progress = Progress(is_json=False)
    for event in EVENTS[:2]:
        progress.tell(event)
    progress.say("waiting " * 20)
    for done in (1, 5):
        progress.follow({"type": "progress", "completed": done, "total": 20})
    progress.tell(EVENTS[2])
    shown = capsys.readouterr().out
    assert "\n" not in shown
    lines = shown.split("\r\x1b[K")
    assert lines[3].startswith("waiting waiting")
    assert "image 1/3, 2.00 it/s" in lines[5]
    assert "210 J/img" in lines[6]
    assert all(len(line) < 80 for line in lines)


def test_events_are_json_for_programs(small, capsys):
    progress = Progress(is_json=True)
    progress.plan(*small, 15.0)
    progress.say("waiting for ComfyUI, 5 s: loading")
    for event in EVENTS:
        progress.tell(event)
    progress.end(["a.csv"])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in told] == ["plan", "visit", "image", "visited", "end"]
    assert told[0]["skipped"][0]["reason"] == "needs a Blackwell card"


def test_a_matrix_goes_on_with_its_own_plan_alone(small, tmp_path):
    plan, found = small
    journal = read_visits(tmp_path / JOURNAL)
    begin(journal, plan, found, {"torch": "2.11.0"}, ("--cpu",))
    again = read_visits(tmp_path / JOURNAL)
    begin(again, plan, found, {"torch": "2.11.0"}, ("--cpu",))
    assert again.header == journal.header
    with pytest.raises(UsageError, match=r"arguments was \['--cpu'\] and is \[\]"):
        begin(again, plan, found, {"torch": "2.11.0"}, ())
    with pytest.raises(UsageError, match="the environment has changed"):
        begin(again, plan, found, {"torch": "2.12.0"}, ("--cpu",))
    plan.workloads[0].workflow.write_text('{"1": {}}', "utf-8")
    with pytest.raises(UsageError, match="workloads was"):
        begin(again, plan, found, {"torch": "2.11.0"}, ("--cpu",))


@pytest.fixture
def carry(small, tmp_path, make_run, capsys):
    """Carry the small plan out on a rig without servers: the exit code and what was told."""
    plan, _ = small

    def run(resume=False, dry_run=False, **rig):
        args = argparse.Namespace(out=tmp_path / "out", resume=resume, dry_run=dry_run)
        args.last_block, args.beside = None, []
        args.out.mkdir(exist_ok=True)
        made = MadeRig(make_run, **rig)
        made.arguments = ("--cpu",)
        progress = Progress(is_json=False)
        code = carry_out(args, plan, made, progress, lambda cap_w: None, lambda cap_w: "")
        return code, capsys.readouterr().out, made

    return run


def test_a_dry_run_measures_nothing(carry, tmp_path):
    code, told, rig = carry(dry_run=True)
    assert (code, rig.made) == (0, 0)
    assert "2 cells" in told
    assert not list((tmp_path / "out").iterdir())


def test_a_matrix_is_carried_out_and_gone_on_with(carry, tmp_path):
    code, told, rig = carry()
    assert code == 0
    assert rig.made == 2 * 5 * 3
    files = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {"cells.csv", "runs.csv", "summary.csv", "report.md", "report.html"}
    assert tables <= files
    assert str(tmp_path / "out" / "report.html") in told
    with pytest.raises(UsageError, match="--resume"):
        carry()
    code, told, rig = carry(resume=True)
    assert (code, rig.made) == (0, 0)
    assert "report.html" in told


def test_what_was_measured_before_an_interruption_is_written(carry, tmp_path):
    prompts = iter(range(1000))

    def interrupted(levels):
        return KeyboardInterrupt() if next(prompts) == 10 else None

    with pytest.raises(KeyboardInterrupt):
        carry(planned=interrupted)
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 3 * 3
    assert carry(resume=True)[0] == 0
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 2 * 5 * 3


@pytest.mark.parametrize(("deaths", "ends_well"), [(1, True), (2, False)])
def test_a_server_that_dies_before_anything_is_planned_is_replaced_once(carry, deaths, ends_well):
    starts = iter([False] * deaths)
    rig = {"will_start": lambda launch: next(starts, True)}
    if ends_well:
        assert carry(**rig)[0] == 0
    else:
        with pytest.raises(CommandError, match="-9"):
            carry(**rig)


def test_a_failed_cell_is_told_and_is_the_exit_code(carry, tmp_path):
    def fails(levels):
        return Prompt(error="out of memory") if levels["attention"] == "sdpa" else None

    code, told, _ = carry(planned=fails)
    assert code == 1
    assert "moth: attention=sdpa: out of memory" in told
    report = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "Cells that were not measured" in report
    assert "out of memory" in report
    assert "needs a Blackwell card" in report


def test_a_matrix_takes_no_other_results_place(carry, tmp_path, make_run):
    append_runs([make_run("another's")], tmp_path / "out")
    before = (tmp_path / "out" / "runs.csv").read_bytes()
    for resume in (False, True):
        with pytest.raises(UsageError, match=r"holds results already \(runs.csv\)"):
            carry(resume=resume)
    assert carry(dry_run=True)[0] == 0
    assert (tmp_path / "out" / "runs.csv").read_bytes() == before
