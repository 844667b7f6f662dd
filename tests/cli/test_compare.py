"""``wattbench compare`` on folders as others leave them."""

import pandas as pd
import pytest

from wattbench.cli import main

from ..report.made_folder import made_folder


def test_folders_are_set_beside_each_other(make_run, tmp_path, capsys):
    a = made_folder(make_run, tmp_path / "one" / "results")
    b = made_folder(make_run, tmp_path / "two" / "results", seeds=3, process_id="another")
    assert main(["compare", str(a), str(b / "runs.csv"), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "one/results" in told and "two/results" in told
    frame = pd.read_csv(tmp_path / "out" / "compare.csv")
    assert len(frame) == 6
    assert frame["n"].tolist() == [5, 3] * 3
    assert (frame["compared"].dropna() == "unpaired").all()
    assert "one/results" in (tmp_path / "out" / "compare.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("names", "word"),
    [(["a"], "two or more"), (["a", "a"], "named twice"), (["a", "a/runs.csv"], "named twice")],
)
def test_nothing_to_compare_is_refused(names, word, make_run, tmp_path, capsys):
    made_folder(make_run, tmp_path / "a")
    assert main(["compare", *(str(tmp_path / name) for name in names)]) == 2
    assert word in capsys.readouterr().err
