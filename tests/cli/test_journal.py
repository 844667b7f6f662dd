"""``wattbench journal check``."""

import pytest

from wattbench import cli
from wattbench.measure.protocol.journal import dumps
from wattbench.report.nodes import append_nodes

from ..report.test_nodes import cost

__all__ = ["cost"]


@pytest.fixture
def journal(tmp_path, make_run):
    path = tmp_path / "journal.jsonl"
    runs = [make_run("a"), make_run("b", error="out of memory"), make_run("c")]
    path.write_text("".join(dumps(run) + "\n" for run in runs), "utf-8")
    return path


def test_a_whole_journal(journal, capsys):
    assert cli.main(["journal", "check", str(journal)]) == 0
    assert capsys.readouterr().out == "3 runs (1 of them failed) in 3 lines, 0 left out\n"


def test_each_damaged_line_is_named(journal, capsys):
    first, second, third = journal.read_text("utf-8").splitlines()
    journal.write_text(f"{first[:200]}{second}\nnonsense\n{third}\n", "utf-8")
    before = journal.read_bytes()
    assert cli.main(["journal", "check", str(journal)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "line 1 is left out: cut short"
    assert lines[1].startswith("line 2 is left out: damaged, or no WattBench record")
    assert lines[2] == "2 runs (1 of them failed) in 3 lines, 2 left out"
    assert journal.read_bytes() == before


def test_summary_keeps_every_good_run_and_says_the_rest(journal, capsys):
    lines = journal.read_text("utf-8").splitlines()
    broken = "".join(f"nonsense {number}\n" for number in range(12))
    journal.write_text("\n".join(lines) + "\n" + broken, "utf-8")
    assert cli.main(["summary", str(journal)]) == 0
    printed = capsys.readouterr()
    assert "it/s" in printed.out
    told = printed.err.splitlines()
    assert len(told) == 11
    assert told[0].startswith("journal.jsonl: line 4 is left out: damaged")
    assert "2 more; `wattbench journal check" in told[-1]


def test_a_table_of_nodes(tmp_path, cost, capsys):
    path = tmp_path / "nodes.csv"
    append_nodes(cost, path)
    assert cli.main(["journal", "check", str(path)]) == 0
    assert capsys.readouterr().out == "3 rows, 0 broken lines\n"
    path.write_bytes(path.read_bytes().replace(b"cached", b"cachet"))
    assert cli.main(["journal", "check", str(path)]) == 1
    assert "line 4 is broken: damaged" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "table.csv"])
def test_what_is_no_journal(tmp_path, name, capsys):
    (tmp_path / "table.csv").write_text("a,b\n", "utf-8")
    assert cli.main(["journal", "check", str(tmp_path / name)]) == 2
    assert "Traceback" not in capsys.readouterr().err
