"""Nothing that was measured is lost."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wattbench.measure.protocol.journal import Journal, dumps, parse
from wattbench.records import (
    SCHEMA_VERSION,
    CounterSample,
    Forwards,
    Sampling,
    Trace,
    with_idle_after,
)

OLD = Path(__file__).parents[2] / "data" / "journals"


def test_a_run_comes_back_as_it_was(make_run):
    runs = [make_run("a"), make_run("b", energy=None, energy_note="no meter", phases=())]
    assert parse("".join(dumps(run) + "\n" for run in runs)) == runs


def test_samplings_come_back_as_they_were(make_run):
    forwards = (Forwards(4, (2, 4, 8, 8), 77), Forwards(1, (1, 4, 8, 8), None, 2))
    sampling = Sampling(
        "sdxl", "moth", "euler", "CFGGuider", (("cfg", 7.0),), 64, 64, 1, 1, 4, 4, 4, forwards
    )
    run = make_run("a", samplings=(sampling, sampling), process_id="p", job_id="j")
    assert parse(dumps(run)) == [run]


def test_runs_of_version_1_are_read():
    """A journal as WattBench wrote it before processes and samplings were told."""
    runs = parse((OLD / "version_1.jsonl").read_text("utf-8"))
    assert [(run.is_warmup, run.seed, run.condition.steps) for run in runs] == [
        (True, 12, 2),
        (False, 10, 2),
        (False, 11, 2),
    ]
    assert {run.process_id for run in runs} == {f"visit {runs[0].visit}"}
    assert {(run.job_id, run.samplings, run.condition.work) for run in runs} == {("", (), "")}
    assert all(run.idle_power_after_w is not None for run in runs[1:])
    assert parse("\n".join(map(dumps, runs))) == runs


def test_each_run_is_on_the_disk_when_append_returns(tmp_path, make_run):
    journal = Journal(tmp_path / "deep" / "journal.jsonl")
    journal.append(make_run("a"))
    assert [run.run_id for run in parse(journal.path.read_text("utf-8"))] == ["a"]
    journal.append(make_run("b"))
    assert [run.run_id for run in parse(journal.path.read_text("utf-8"))] == ["a", "b"]


@pytest.mark.parametrize("length", [1, 10, 50, 500])
def test_a_line_cut_short_by_a_crash_costs_that_run_alone(tmp_path, make_run, length, caplog):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(make_run("a"))
    with journal.path.open("a", encoding="utf-8") as file:
        file.write(dumps(make_run("b"))[:length])
    assert [run.run_id for run in parse(journal.path.read_text("utf-8"))] == ["a"]
    journal.append(make_run("c"))
    journal.append_idle_after([make_run("c")], 130.0)
    runs = parse(journal.path.read_text("utf-8"))
    assert [(run.run_id, run.idle_power_after_w) for run in runs] == [("a", None), ("c", 130.0)]
    assert caplog.messages == ["journal line 2 is left out: cut short"] * 2


def test_a_last_line_without_its_end_is_taken(make_run):
    assert parse(dumps(make_run("a"))) == [make_run("a")]


def test_several_writers_do_not_disturb_each_other(tmp_path, make_run):
    trace = Trace(tuple(CounterSample(0.1 * tick, 20.0 * tick) for tick in range(2000)))

    def write(writer):
        journal = Journal(tmp_path / "journal.jsonl")
        for number in range(20):
            journal.append(make_run(f"{writer}{number}", trace=trace))

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, "abc"))
    runs = parse((tmp_path / "journal.jsonl").read_text("utf-8"))
    assert sorted(run.run_id for run in runs) == sorted(f"{w}{n}" for w in "abc" for n in range(20))


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
def test_a_full_disk_is_told_with_what_to_do(tmp_path, make_run):
    (tmp_path / "journal.jsonl").symlink_to("/dev/full")
    journal = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(OSError, match=r"No space left on device.*make room"):
        journal.append(make_run("a"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "line 1"),
        ("{}", "schema_version"),
        ('{"schema_version": 999}', "schema version 999"),
        ('{"schema_version": 1}', "line 1 is not a WattBench run"),
        ("nonsense", "line 1"),
    ],
)
def test_what_is_no_run_is_named(line, message):
    with pytest.raises(ValueError, match=message):
        parse(line + "\n")


def test_no_number_that_json_does_not_know(make_run):
    with pytest.raises(ValueError, match="JSON"):
        dumps(make_run(idle_power_w=float("nan")))


def test_an_unwritable_folder_is_refused_before_a_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Journal(tmp_path / "file" / "journal.jsonl")


def test_a_line_is_plain_json(make_run):
    data = json.loads(dumps(make_run("a")))
    assert data["schema_version"] == SCHEMA_VERSION
    assert data["seed"] == 2**63 + 1


def test_idle_power_after_a_run_joins_it(tmp_path, make_run):
    journal = Journal(tmp_path / "journal.jsonl")
    before = {"idle_power_w": 120.0, "idle_power_before_w": 120.0}
    first, second, other = (make_run(name, **before) for name in "abc")
    for run in (first, second, other):
        journal.append(run)
    journal.append_idle_after([first, second], 130.0)
    runs = parse(journal.path.read_text("utf-8"))
    assert [(r.idle_power_before_w, r.idle_power_after_w, r.idle_power_w) for r in runs] == [
        (120.0, 130.0, 125.0),
        (120.0, 130.0, 125.0),
        (120.0, None, 120.0),
    ]


def test_idle_power_of_runs_that_are_not_in_this_part_is_passed_over(make_run, tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append_idle_after([make_run("elsewhere")], 130.0)
    journal.append(make_run("a"))
    assert parse(journal.path.read_text("utf-8")) == [make_run("a")]


def test_idle_power_after_alone_is_taken(make_run):
    changed = with_idle_after(make_run("a", idle_power_w=None), 130.0)
    assert changed.idle_power_w == 130.0
