"""Cards side by side: who is best, who cannot be told apart, what is not said."""

import pytest

from wattbench import cli
from wattbench.fleet import results
from wattbench.fleet.page import as_markdown, verdicts
from wattbench.fleet.rows import folders_of, rows_of
from wattbench.measure.protocol.journal import dumps

from .test_queue import row


def test_the_best_card_and_those_that_cannot_be_told_apart():
    rows = [row("a", 100.0, 3.0), row("b", 103.9, 2.0), row("c", 104.1, 1.0)]
    energy, time = verdicts(rows)
    # Half widths are 2 J: intervals of a and b touch, those of a and c do not.
    assert energy.startswith("Least energy: Made a (a), sdpa, 100.0 ± 2.0 J/img; not told apart")
    assert energy.endswith("Made b (b), sdpa.")
    assert time == "Least time: Made c (c), sdpa, 1.000 ± 0.000 s/img."


def test_broken_pictures_win_nothing_and_kinds_of_energy_are_not_ranked():
    from dataclasses import replace

    rows = [row("a", 1.0, 1.0, is_broken=True), row("b", 100.0, 2.0)]
    assert verdicts(rows)[0].startswith("Least energy: Made b")
    assert "broken pictures" in as_markdown(rows)
    mixed = [row("a"), replace(row("b"), meter="estimated")]
    assert verdicts(mixed)[0] == "Least energy: not said, energies are of 2 kinds."


def test_without_measurements_nothing_is_said():
    assert verdicts([row(joules=None, seconds=None)]) == ["No row has J/img.", "No row has s/img."]
    assert "Nothing was measured." in as_markdown([])


@pytest.fixture
def folder(tmp_path, make_run):
    """A fleet's folder with two cards."""
    for name in ("one", "two"):
        path = tmp_path / "fleet" / "cards" / name
        path.mkdir(parents=True)
        runs = [make_run(f"{name}{n}", process_id=f"{name}{n}", visit=n) for n in range(2)]
        (path / "runs.jsonl").write_text("".join(f"{dumps(run)}\n" for run in runs), "utf-8")
    return tmp_path / "fleet"


def test_cards_of_equal_machines_are_not_pooled(folder):
    assert [path.name for path in folders_of([folder])] == ["one", "two"]
    rows = list(rows_of([folder]))
    assert [(found.card, found.run_count, found.visit_count) for found in rows] == [
        ("one", 2, 2),
        ("two", 2, 2),
    ]


def test_the_command_makes_the_page_of_folders(folder, tmp_path, capsys):
    page = tmp_path / "all.md"
    assert cli.main(["fleet", "page", str(folder), "--out", str(page)]) == 0
    text = page.read_text("utf-8")
    assert "NVIDIA GeForce RTX 3090, 350 W (one)" in text
    assert "Table 4 and Figure 1: peak VRAM" in text
    assert cli.main(["fleet", "page", str(tmp_path / "none"), "--out", str(page)]) == 2
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize(("most", "is_there"), [(4, True), (3, False)])
def test_of_too_many_runs_there_is_no_common_table(folder, monkeypatch, most, is_there):
    monkeypatch.setattr(results, "MOST_TOGETHER", most)
    folders = list(folders_of([folder]))
    assert (results.analysis_of(folders) is not None) is is_there
    page = results.page_of([folder])
    assert ("# Your runs beside" in page) is is_there
    assert ("too many runs to be compared" in page) is not is_there
