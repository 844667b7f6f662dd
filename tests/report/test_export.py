"""A folder of results gains runs: as if all had been written at once, and nothing is lost."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from wattbench.errors import UsageError
from wattbench.measure.protocol.journal import parse
from wattbench.processes.signals import cancelling
from wattbench.records import PowerSample, Trace
from wattbench.report import append_runs, read_runs, reserved, write_all
from wattbench.report import export as export_module
from wattbench.tables.csv import write_frame

from ..made_runs import CONDITION

NAMES = ("runs.csv", "summary.csv", "steps.csv", "report.md")


def sampled(run, *, steps=2):
    """``run`` with steps, and power samples that cover it."""
    phases = tuple(
        replace(
            phase,
            step_ends_s=tuple(
                phase.start_s + phase.duration_s * (n + 1) / steps for n in range(steps)
            ),
        )
        if phase.name == "denoise"
        else phase
        for phase in run.phases
    )
    power = tuple(PowerSample(0.5 * n, 190.0 + n % 5) for n in range(40))
    return replace(run, phases=phases, trace=Trace(power=power))


@pytest.fixture
def runs(make_run):
    """Two conditions in turn; one name is a formula."""
    plain = make_run().condition
    other = replace(plain, model="=cmd|' /C calc'!A0", steps=None, optimizations="--lowvram")
    return [
        sampled(make_run(f"run {n}", denoise_s=10 + n / 7, seed=n, condition=(plain, other)[n % 2]))
        for n in range(8)
    ]


def test_added_one_by_one_or_written_at_once_is_the_same(tmp_path, runs):
    write_all(runs, tmp_path / "once")
    for run in runs:
        paths = append_runs([run], tmp_path / "added")
    assert sorted(path.name for path in paths) == sorted(NAMES)
    for name in NAMES:
        assert (tmp_path / "added" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("write", [append_runs, write_all])
def test_a_signal_between_the_tables_loses_none(write, number, tmp_path, runs, monkeypatch):
    def interrupted(frame, path):
        signal.raise_signal(getattr(signal, number))
        return write_frame(frame, path)

    monkeypatch.setattr(export_module, "write_frame", interrupted)
    with pytest.raises(KeyboardInterrupt), cancelling():
        write(runs, tmp_path / "cut")
    monkeypatch.undo()
    write(runs, tmp_path / "whole")
    for name in NAMES:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_only_the_conditions_that_gain_runs_are_pooled_anew(tmp_path, runs, monkeypatch):
    append_runs(runs[:6], tmp_path)
    read = []

    def parsed(text):
        found = parse(text)
        read.extend(run.run_id for run in found)
        return found

    monkeypatch.setattr(export_module, "parse", parsed)
    append_runs([runs[6]], tmp_path)
    assert read == ["run 0", "run 2", "run 4"]
    raw = (tmp_path / "runs.jsonl").read_text("utf-8")
    assert [run.run_id for run in parse(raw)] == [run.run_id for run in runs[:7]]


def test_a_run_that_was_completed_later_replaces_itself(tmp_path, runs):
    append_runs(runs[:3], tmp_path)
    append_runs([replace(runs[0], idle_power_after_w=31.0)], tmp_path)
    table = read_runs(tmp_path / "runs.csv")
    assert list(table["run_id"]) == ["run 0", "run 1", "run 2"]
    assert table["idle_power_after_w"].tolist()[0] == 31.0
    append_runs(runs[1:2], tmp_path)
    assert len((tmp_path / "runs.jsonl").read_text("utf-8").splitlines()) == 4


def test_runs_that_somebody_deleted_do_not_come_back(tmp_path, runs):
    append_runs(runs[:4], tmp_path)
    lines = (tmp_path / "runs.csv").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "runs.csv").write_text("".join(lines[:2] + lines[4:]), "utf-8")
    append_runs(runs[4:5], tmp_path)
    assert list(read_runs(tmp_path / "runs.csv")["run_id"]) == ["run 0", "run 3", "run 4"]


def test_a_table_that_is_open_elsewhere_loses_no_run(tmp_path, runs, monkeypatch):
    append_runs(runs[:1], tmp_path)
    original = Path.replace

    def refused(self, target):
        if Path(target).name == "runs.csv":
            raise PermissionError(13, "Access is denied", str(target))
        return original(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    assert append_runs(runs[1:2], tmp_path)[0].name == "runs (new).csv"
    append_runs(runs[2:3], tmp_path)
    monkeypatch.undo()
    assert append_runs(runs[3:4], tmp_path)[0].name == "runs.csv"
    assert len(read_runs(tmp_path / "runs.csv")) == 4
    assert not (tmp_path / "runs (new).csv").exists()


def test_hostile_names_are_text_and_come_back(tmp_path, runs):
    append_runs(runs[:2], tmp_path)
    append_runs(runs[2:3], tmp_path)
    written = (tmp_path / "runs.csv").read_text("utf-8")
    assert ",=cmd" not in written
    assert ",--lowvram" not in written
    assert list(read_runs(tmp_path / "runs.csv")["model"])[1] == "=cmd|' /C calc'!A0"
    assert list(read_runs(tmp_path / "runs.csv")["optimizations"])[1] == "--lowvram"


HOLDER = """
import sys
from pathlib import Path
from wattbench.report import reserved
with reserved(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_batch_is_refused_while_one_measures(tmp_path):
    """By another process, and free again when that has ended in any way."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(UsageError, match="another batch is measuring into"),
            reserved(tmp_path),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with reserved(tmp_path):
        pass


def test_a_foreign_table_is_said_before_anything_is_measured(tmp_path):
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(UsageError, match="is not a runs"), reserved(tmp_path):
        pass
    assert (tmp_path / "runs.csv").read_text("utf-8") == "a,b\n1,2\n"


def test_names_of_runs_are_found_whatever_is_in_them(tmp_path, runs):
    odd = replace(runs[0], run_id='a "quoted\\ name')
    append_runs([odd], tmp_path)
    append_runs([runs[2]], tmp_path)
    found = [json.loads(line)["run_id"] for line in (tmp_path / "runs.jsonl").open("rb")]
    assert found == [odd.run_id, "run 2"]
    assert list(read_runs(tmp_path / "runs.csv")["run_id"]) == found


@pytest.mark.parametrize("column", ["vae", "text_encoder", "prompts", "work"])
def test_conditions_that_differ_by_what_one_does_not_tell(make_run, tmp_path, column):
    """A graph whose decoding was probed, and one whose was not, in one folder."""
    told = make_run("a", condition=replace(CONDITION, **{column: "moth"}))
    untold = make_run("b", condition=replace(CONDITION, **{column: ""}))
    append_runs([told], tmp_path)
    append_runs([untold], tmp_path)
    assert read_runs(tmp_path / "runs.csv")["condition"].nunique() == 2
    assert "moth" in (tmp_path / "report.md").read_text("utf-8")


def test_names_that_no_text_can_hold_lose_no_table(tmp_path, runs):
    """A file's name on Linux need not be UTF-8, and stands in errors and conditions."""
    odd = [
        replace(run, error="" if n else "no file a\udcff", condition=replace(
            run.condition, model="m\udcff"))
        for n, run in enumerate(runs[:4])
    ]  # fmt: skip
    append_runs(odd[:2], tmp_path)
    append_runs(odd[2:], tmp_path)
    table = read_runs(tmp_path / "runs.csv")
    assert set(table["model"]) == {"m\\udcff"}
    assert table["error"].tolist()[0] == "no file a\\udcff"
    assert len(table) == 4
