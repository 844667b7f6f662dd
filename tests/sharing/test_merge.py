"""Merging is a union: each run once, whatever the order, however often."""

from dataclasses import replace

import pytest

from wattbench import cli
from wattbench.sharing.bundle import Bundle
from wattbench.sharing.merge import MergeError, Source, merged, source_of


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


def test_the_order_of_sources_does_not_matter(make_run, tmp_path):
    at = [f"2026-11-20T09:00:0{n}.000+00:00" for n in range(3)]
    runs = [make_run(f"r{n}", started_at=at[n]) for n in range(3)]
    a, b = Source(tmp_path / "a", tuple(runs[:2])), Source(tmp_path / "b", tuple(runs[1:]))
    assert merged([a, b]) == merged([b, a]) == merged([b, a, a, b]) == runs


def test_a_study_keeps_the_order_of_its_plan(make_run, tmp_path):
    """Its baseline comes first, although a random block began with another cell."""

    def run(cell, visit, at):
        study = {"study": "s", "cell": cell, "visit": visit}
        began = f"2026-11-20T09:00:0{at}.000+00:00"
        return make_run(f"{cell}{visit}", started_at=began, **study)

    planned = [run("base", 1, 2), run("base", 2, 3), run("other", 1, 1), run("other", 2, 4)]
    alone = make_run("alone", started_at="2026-11-20T09:00:05.000+00:00")
    whole, part = Source(tmp_path / "a", tuple(planned)), Source(tmp_path / "b", (planned[2],))
    single = Source(tmp_path / "c", (alone,))
    for sources in ([part, whole, single], [single, whole, part]):
        assert merged(sources) == [*planned, alone]


def test_a_run_counts_before_its_bundle(make_run, tmp_path):
    run = make_run("a1", job_id="job-1")
    [shared] = Bundle.of([run]).runs
    a, b = Source(tmp_path / "a", (run,)), Source(tmp_path / "b", (shared,))
    assert merged([a, b]) == merged([b, a]) == [run]


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
        source_of(tmp_path)
    (tmp_path / "x.zip").write_text("no bundle")
    code, told = merge(capsys, tmp_path / "x.zip", "--out", tmp_path / "out")
    assert code == 2
    assert "x.zip is no bundle" in told.err
