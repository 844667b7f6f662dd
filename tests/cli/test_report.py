"""``wattbench report``: what it takes, writes and refuses."""

import sys
from dataclasses import replace

import pytest

from wattbench.cli import main
from wattbench.measure.protocol.journal import Journal
from wattbench.report import write_all


@pytest.fixture
def results(make_run, tmp_path):
    write_all([make_run(f"run {n}", seed=n, repeat=n) for n in range(3)], tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.filterwarnings("error")
def test_a_folder_becomes_a_page(results, tmp_path, capsys):
    out = tmp_path / "new" / "page.html"
    assert main(["report", str(results), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    page = out.read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert '<html lang="en">' in page
    assert str(tmp_path) not in page


def test_folders_become_one_page_with_each_run_once(results, make_run, tmp_path):
    other = replace(make_run("other").condition, attention="sage_2")
    more = [make_run(f"more {n}", seed=n, repeat=n, condition=other) for n in range(3)]
    write_all([*more, make_run("run 0", seed=0)], tmp_path / "more")
    out = tmp_path / "page.html"
    given = [str(results), str(tmp_path / "more" / "runs.csv")]
    assert main(["report", *given, "--out", str(out), "--language", "pt-BR"]) == 0
    page = out.read_text("utf-8")
    assert '<html lang="pt-BR">' in page
    assert "6 linhas" in page


def test_a_journal_is_read_too(make_run, tmp_path):
    Journal(tmp_path / "journal.jsonl").append(make_run())
    out = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "journal.jsonl"), "--out", str(out)]) == 0
    assert "There is one condition" in out.read_text("utf-8")


def test_a_folder_without_runs_is_a_usage_error(tmp_path, capsys):
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 2
    assert "runs.csv cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_folder_to_write_is_a_usage_error(results, tmp_path, capsys):
    assert main(["report", str(results), "--out", str(tmp_path)]) == 2
    assert "is a folder: name the file" in capsys.readouterr().err


def test_without_jinja_it_says_what_to_install(results, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "jinja2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", str(results), "--out", str(tmp_path / "page.html")]) == 1
    assert "pip install jinja2 matplotlib" in capsys.readouterr().err
