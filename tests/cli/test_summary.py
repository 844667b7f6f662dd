"""``wattbench summary`` of a table and of a journal."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from wattbench.cli import main
from wattbench.measure.protocol.journal import Journal
from wattbench.records import Condition, EnergyReading, Environment, Phase, PowerSample, Run, Trace
from wattbench.report import append_runs, read_runs, write_all

CONDITION = Condition("sdxl", "moth", "file", "sdpa", "fp16", 64, 64, 1, 2, 7.0, "euler", "normal")
ENVIRONMENT = Environment(*(["GPU"] + [""] * 12), None)
PHASES = {"text_encode": 0.5, "denoise": 2.0, "decode": 0.5}


def make_run(number):
    """Three seconds at 100 W, integrated; the two steps take a second each."""
    phases, at_s = [], 0.0
    for name, seconds in PHASES.items():
        energy = EnergyReading(100 * seconds, seconds, "hwmon:0", "gpu", "integrated", None, 9)
        ends = (at_s + 1.0, at_s + 2.0) if name == "denoise" else ()
        phases.append(Phase(name, at_s, seconds, energy, ends))
        at_s += seconds
    return Run(
        run_id=f"run {number}",
        started_at="2026-11-20T09:00:00.000+00:00",
        condition=CONDITION,
        environment=ENVIRONMENT,
        seed=number,
        visit=1,
        repeat=number,
        is_warmup=False,
        phases=tuple(phases),
        energy=EnergyReading(300.0, 3.0, "hwmon:0", "gpu", "integrated", None, 27),
        trace=Trace(power=(PowerSample(0.0, 100.0), PowerSample(1.0, 100.0))),
    )


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for number in range(3):
        journal.append(make_run(number))
    return journal.path


def test_a_journal_becomes_all_tables(journal, tmp_path, capsys):
    assert main(["summary", str(journal), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "300.0 ± 0.0" in printed
    assert "Denoise (J)" in printed
    steps = pd.read_csv(tmp_path / "out" / "steps.csv")
    assert list(steps["energy_j_mean"]) == pytest.approx([100.0, 100.0])


def test_a_table_has_the_same_summary_as_its_journal(journal, tmp_path, capsys):
    write_all([make_run(number) for number in range(3)], tmp_path / "written")
    assert main(["summary", str(journal)]) == 0
    from_journal = capsys.readouterr().out
    assert main(["summary", str(tmp_path / "written" / "runs.csv")]) == 0
    assert capsys.readouterr().out == from_journal


def test_a_folder_stands_for_its_table(tmp_path, capsys):
    write_all([make_run(number) for number in range(3)], tmp_path / "written")
    assert main(["summary", str(tmp_path / "written")]) == 0
    assert "300.0 ± 0.0" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_wants_no_more_is_no_traceback(journal):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "wattbench", "summary", str(journal)]
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.csv"])
def test_a_file_that_is_not_there_is_a_usage_error(tmp_path, capsys, name):
    assert main(["summary", str(tmp_path / name)]) == 2
    assert f"{name} cannot be read: No such file" in capsys.readouterr().err


def test_the_pue_of_a_journal_is_in_its_total_alone(journal, tmp_path):
    out = tmp_path / "out"
    assert main(["summary", str(journal), "--pue", "1.5", "--out", str(out)]) == 0
    runs = read_runs(out / "runs.csv")
    assert set(runs["pue"]) == {1.5}
    assert list(runs["energy_total_j"]) == pytest.approx(list(1.5 * runs["energy_j"]))
    assert main(["summary", str(out), "--pue", "1.5"]) == 2


@pytest.mark.parametrize("value", ["0.99", "0", "-1", "nan", "inf", "x"])
def test_a_pue_below_one_is_refused(journal, capsys, value):
    with pytest.raises(SystemExit):
        main(["summary", str(journal), "--pue", value])
    assert f"{value!r} is no power usage effectiveness" in capsys.readouterr().err


def test_a_pue_of_one_changes_nothing(journal, tmp_path):
    assert main(["summary", str(journal), "--pue", "1", "--out", str(tmp_path / "out")]) == 0
    runs = read_runs(tmp_path / "out" / "runs.csv")
    assert list(runs["energy_total_j"]) == list(runs["energy_j"])


def ids(folder):
    return sorted(read_runs(folder / "runs.csv")["run_id"])


def test_a_journal_joins_what_lies_there(journal, tmp_path):
    out = tmp_path / "out"
    append_runs([make_run(7)], out)
    for _ in range(2):
        assert main(["summary", str(journal), "--out", str(out)]) == 0
        assert ids(out) == sorted(make_run(n).run_id for n in (0, 1, 2, 7))
    assert pd.read_csv(out / "steps.csv")["n"].tolist() == [4, 4]


def test_a_journal_beside_its_tables_stays_as_it_is(tmp_path):
    journal = Journal(tmp_path / "runs.jsonl")
    journal.append(make_run(0))
    journal.path.write_bytes(journal.path.read_bytes() + b"what somebody noted\n")
    before = journal.path.read_bytes()
    assert main(["summary", str(journal.path), "--out", str(tmp_path)]) == 0
    assert journal.path.read_bytes() == before
    assert ids(tmp_path) == [make_run(0).run_id]


def test_a_table_takes_no_other_runs_place(journal, tmp_path, capsys):
    out, source = tmp_path / "out", tmp_path / "source"
    append_runs([make_run(7), make_run(0)], out)
    append_runs([make_run(0)], source)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(["summary", str(source), "--out", str(out)]) == 2
    assert "holds 1 runs that are not among these" in capsys.readouterr().err
    append_runs([make_run(number) for number in (0, 7, 8)], source)
    assert main(["summary", str(source), "--out", str(out)]) == 2
    assert "steps.csv" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert main(["summary", str(out), "--out", str(out)]) == 0
    assert (out / "steps.csv").read_bytes() == before["steps.csv"]
    assert main(["summary", str(source), "--out", str(tmp_path / "new")]) == 0
    assert ids(tmp_path / "new") == ids(source)
