"""Merging any number of runs: few are in memory, tables are right, and a crash loses nothing."""

import os
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from wattbench import cli
from wattbench.analysis.analysis import Analysis
from wattbench.fleet import rows as fleet_rows
from wattbench.measure.protocol import codec
from wattbench.measure.protocol.journal import read
from wattbench.records import Run
from wattbench.report import append_runs, read_runs
from wattbench.sharing import merge as merging
from wattbench.sharing.merge import merge

TOGETHER = 20
CARDS, CONDITIONS, REPEATS = 6, 3, 5
NAMES = ("runs.csv", "summary.csv", "steps.csv", "report.md", "runs.jsonl")
LOOKED_AT = 3
"""Besides those of a group: a run that is read, and two that are held against each other."""


@pytest.fixture
def card(make_run, results):
    """A function that makes a folder of one card's runs, of some conditions."""

    def make(number, conditions=CONDITIONS, repeats=REPEATS):
        environment = replace(make_run().environment, gpu_uuid=f"GPU-{number}")
        runs = [
            make_run(
                f"c{number}a{kind}r{repeat}",
                environment=environment,
                condition=replace(make_run().condition, attention=f"sdpa {kind}"),
                denoise_s=10 + number + kind / 7 + repeat / 100,
                repeat=repeat,
                process_id=f"{number} {repeat % 2}",
                started_at=f"2026-11-20T09:{repeat:02d}:{number:02d}.{kind:03d}+00:00",
            )
            for repeat in range(repeats)
            for kind in range(conditions)
        ]
        return results(f"card{number}", *runs), runs

    return make


@pytest.fixture
def together(monkeypatch):
    """So few runs may be together that a handful is many."""
    monkeypatch.setattr(merging, "MOST_TOGETHER", TOGETHER)
    monkeypatch.setattr(fleet_rows, "MOST_TOGETHER", TOGETHER)


@pytest.fixture
def held(monkeypatch):
    """The most runs that were read and there at the same time: a list of one."""
    alive, most = set(), [0]
    original = codec.run_of

    def run_of(*given):
        run, unknown = original(*given)
        alive.add(id(run))
        most[0] = max(most[0], len(alive))
        return run, unknown

    monkeypatch.setattr(codec, "run_of", run_of)
    monkeypatch.setattr(Run, "__del__", lambda self: alive.discard(id(self)), raising=False)
    return most


@pytest.mark.parametrize("cards", [CARDS, 3 * CARDS])
def test_a_card_at_a_time_is_in_memory(card, together, held, tmp_path, cards):
    folders = [card(number)[0] for number in range(cards)]
    held[0] = 0
    for _ in range(2):
        found = merge(folders, tmp_path / "out")
        assert found.run_count == cards * CONDITIONS * REPEATS
    assert found.new_count == 0
    assert CONDITIONS * REPEATS <= held[0] <= CONDITIONS * REPEATS + LOOKED_AT


def test_of_a_large_card_a_condition_at_a_time(card, together, held, tmp_path):
    folder, _ = card(0, conditions=4, repeats=10)
    held[0] = 0
    merge([folder], tmp_path / "out")
    assert 10 <= held[0] <= 10 + LOOKED_AT
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert summary["n"].tolist() == [10] * 4
    assert set(summary["comparison_note"]) == {merging.ALONE}
    held[0] = 0
    assert [row.run_count for row in fleet_rows.rows_of([folder])] == [10] * 4
    assert held[0] <= 10 + LOOKED_AT


def test_of_a_large_condition_some_at_a_time(card, together, held, tmp_path):
    folder, runs = card(0, conditions=1, repeats=3 * TOGETHER)
    told = []
    merge([folder], tmp_path / "out", told.append)
    assert TOGETHER <= held[0] <= TOGETHER + LOOKED_AT
    assert "60 runs of one condition on one machine" in told[0]
    table = read_runs(tmp_path / "out" / "runs.csv")
    assert table["run_id"].tolist() == [run.run_id for run in runs]
    assert table["j_per_img"].notna().all()
    assert table["pooled_method"].eq("").all()
    assert len(pd.read_csv(tmp_path / "out" / "summary.csv")) == 0
    [row] = fleet_rows.rows_of([folder])
    assert (row.run_count, row.note) == (TOGETHER, f"the first {TOGETHER} of 60 runs")


def test_the_tables_are_those_of_each_machine(card, together, tmp_path):
    made = [card(number) for number in range(3)]
    merge([folder for folder, _ in made], tmp_path / "out")
    analyses = [Analysis.of(runs) for _, runs in made]
    expected = pd.concat([one.frame for one in analyses], ignore_index=True)
    pd.testing.assert_frame_equal(read_runs(tmp_path / "out" / "runs.csv"), expected)
    summaries = pd.concat([one.summary for one in analyses], ignore_index=True)
    written = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert written["j_per_img_mean"].tolist() == pytest.approx(summaries["j_per_img_mean"])
    assert written["it_per_s_ratio"].notna().sum() == 3 * (CONDITIONS - 1)
    kept = read((tmp_path / "out" / "runs.jsonl").read_bytes()).runs
    assert kept == tuple(run for one in analyses for run in one.runs)
    page = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "45 runs, 9 conditions: too many for a page." in page
    assert page.count("NVIDIA GeForce RTX 3090") == 1


def test_few_grow_to_many_and_the_same_again_changes_nothing(card, together, tmp_path):
    one, other, more = (card(number)[0] for number in range(3))
    out = tmp_path / "out"
    assert merge([one], out).new_count == 15
    assert "too many" not in (out / "report.md").read_text("utf-8")
    assert merge([other], out).new_count == 15
    assert merge([more], out).run_count == 45
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert merge([more, one], out) == merging.Merged(45, 0)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    merge([more, other, one], tmp_path / "at once")
    assert {name: (tmp_path / "at once" / name).read_bytes() for name in NAMES} == {
        name: before[name] for name in NAMES
    }


def test_rows_without_raw_samples_are_not_lost(card, together, make_run, tmp_path, capsys):
    out = tmp_path / "out"
    append_runs([make_run("only here")], out)
    (out / "runs.jsonl").unlink()
    folders = [str(card(number)[0]) for number in range(2)]
    assert cli.main(["merge", *folders, "--out", str(out)]) == 2
    assert "holds 1 runs whose raw samples are not there" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir() if path.name != ".runs.lock") == [
        "report.md",
        "runs.csv",
        "summary.csv",
    ]


DIES = """
import os, sys
from pathlib import Path
from wattbench.sharing import merge
from wattbench.tables import files
merge.MOST_TOGETHER, left, put = int(sys.argv[1]), int(sys.argv[2]), files._put
def count(*given):
    global left
    if not left:
        os._exit(9)
    left -= 1
    put(*given)
files._put = count
merge.merge([Path(path) for path in sys.argv[4:]], Path(sys.argv[3]))
"""


@pytest.mark.parametrize("most", [TOGETHER, 100])
@pytest.mark.parametrize("replaced", [0, 1, 2])
def test_what_was_killed_between_two_files_is_made_whole(
    card, together, monkeypatch, tmp_path, most, replaced
):
    monkeypatch.setattr(merging, "MOST_TOGETHER", most)
    folders = [card(number)[0] for number in range(3)]
    whole, out = tmp_path / "whole", tmp_path / "out"
    merge(folders, whole)
    given = [str(most), str(replaced), str(out), *map(str, folders)]
    done = subprocess.run([sys.executable, "-c", DIES, *given], env=os.environ, timeout=300)
    assert done.returncode == 9
    assert (out / ".merging").exists()
    merge(folders, out)
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(path.name for path in whole.iterdir())
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in names)
