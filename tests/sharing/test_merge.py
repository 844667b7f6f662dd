"""Merging is a union: each run once, whatever the order, however often."""

from dataclasses import replace

import pytest

from wattbench import cli
from wattbench.measure.protocol.journal import Journal, read
from wattbench.sharing.bundle import Bundle
from wattbench.sharing.merge import runs_of
from wattbench.sharing.union import MergeError, Union


def merge(capsys, *arguments):
    code = cli.main(["merge", *map(str, arguments)])
    return code, capsys.readouterr()


def test_folders_and_bundles_become_one(results, make_run, tmp_path, capsys):
    other = replace(make_run().environment, gpu_uuid="GPU-2", gpu_name="RTX 4090")
    one = results("one", make_run("a1"), make_run("a2", repeat=1))
    two = Bundle.of([make_run("b1", environment=other)]).write(tmp_path / "two.zip")
    code, told = merge(capsys, one, two, "--out", tmp_path / "out")
    assert code == 0, told.err
    assert "3 runs, 3 of them new" in told.out
    summary = (tmp_path / "out" / "summary.csv").read_text()
    assert "RTX 3090" in summary
    assert "RTX 4090" in summary
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    code, told = merge(capsys, two, one, "--out", tmp_path / "out")
    assert (code, told.out) == (0, f"3 runs, 0 of them new in {tmp_path / 'out'}\n")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def union_of(*paths):
    with Union() as union:
        for path in paths:
            union.add(path)
        return list(union.runs())


def test_the_order_of_sources_does_not_matter(results, make_run):
    at = [f"2026-11-20T09:00:0{n}.000+00:00" for n in range(3)]
    runs = [make_run(f"r{n}", started_at=at[n]) for n in range(3)]
    a, b = results("a", *runs[:2]), results("b", *runs[1:])
    assert union_of(a, b) == union_of(b, a) == union_of(b, a, a, b) == runs


def test_a_study_keeps_the_order_of_its_plan(results, make_run):
    """Its baseline comes first, although a random block began with another cell."""

    def run(cell, visit, at):
        study = {"study": "s", "cell": cell, "visit": visit}
        began = f"2026-11-20T09:00:0{at}.000+00:00"
        return make_run(f"{cell}{visit}", started_at=began, **study)

    planned = [run("base", 1, 2), run("base", 2, 3), run("other", 1, 1), run("other", 2, 4)]
    alone = make_run("alone", started_at="2026-11-20T09:00:05.000+00:00")
    whole, part, single = results("a", *planned), results("b", planned[2]), results("c", alone)
    for sources in ([part, whole, single], [single, whole, part]):
        assert union_of(*sources) == [*planned, alone]


def test_a_run_counts_before_its_bundle(results, make_run, tmp_path):
    run = make_run("a1", job_id="job-1")
    bundle = Bundle.of([run]).write(tmp_path / "b.zip")
    folder = results("a", run)
    assert union_of(folder, bundle) == union_of(bundle, folder) == [run]


def test_idle_power_that_came_later_is_of_the_run(results, make_run):
    run = make_run("a1")
    folder = results("one", run)
    journal = Journal(folder / "runs.jsonl")
    journal.append_idle_after([run], 20.0)
    told = read((folder / "runs.jsonl").read_bytes()).runs
    assert told[0].idle_power_after_w == 20.0
    assert union_of(folder) == list(told)
    # What was merged before has it, and the journal's line by itself has it not.
    assert union_of(results("merged", *told), folder) == list(told)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_journal_that_an_editor_has_saved(results, make_run, encoding):
    folder = results("one", make_run("a1"), make_run("a2", repeat=1))
    journal = folder / "runs.jsonl"
    journal.write_text(journal.read_text("utf-8"), encoding)
    assert [run.run_id for run in union_of(folder)] == ["a1", "a2"]


def test_lines_that_were_joined_are_two_runs(results, make_run):
    folder = results("one", make_run("a1"), make_run("a2", repeat=1))
    journal = folder / "runs.jsonl"
    journal.write_text(journal.read_text("utf-8").replace("\n", ""), "utf-8")
    assert union_of(folder) == [make_run("a1"), make_run("a2", repeat=1)]


def test_what_no_database_would_take_is_a_run_nevertheless(results, make_run):
    odd = make_run("\ud800", cell="\udfff", study="s", visit=10**30)
    run = make_run("a1")
    assert union_of(results("one", odd, run), results("two", odd)) == [run, odd]


def test_a_source_that_changes_meanwhile_is_named(results, make_run):
    folder = results("one", make_run("a1"))
    with Union() as union:
        union.add(folder)
        (folder / "runs.jsonl").write_text("{}\n", "utf-8")
        with pytest.raises(MergeError, match="one was changed while it was read"):
            list(union.runs())


def test_two_that_say_other_things_of_a_run_are_refused(results, make_run, tmp_path, capsys):
    one = results("one", make_run("a1"))
    two = results("two", make_run("a1", wall_time_s=99.0))
    code, told = merge(capsys, one, two, "--out", tmp_path / "out")
    assert code == 2
    assert "say other things of run a1" in told.err
    assert not (tmp_path / "out").exists()


def test_a_damaged_line_is_told_and_the_rest_kept(results, make_run, tmp_path, capsys):
    folder = results("one", make_run("a1"), make_run("a2"))
    journal = folder / "runs.jsonl"
    journal.write_text(journal.read_text().replace('"a2"', '"a3"'), "utf-8")
    code, told = merge(capsys, folder, "--out", tmp_path / "out")
    assert code == 0
    assert "line 2 is left out" in told.err
    assert "1 runs, 1 of them new" in told.out


def test_what_holds_no_runs_is_refused(tmp_path, capsys):
    with pytest.raises(MergeError, match="has neither runs"):
        runs_of(tmp_path)
    (tmp_path / "x.zip").write_text("no bundle")
    code, told = merge(capsys, tmp_path / "x.zip", "--out", tmp_path / "out")
    assert code == 2
    assert "x.zip is no bundle" in told.err
