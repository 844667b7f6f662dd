"""Files are replaced whole, or the new one lies beside and says so."""

from pathlib import Path

from wattbench.tables.files import newest, write_text


def refusing(names):
    """``Path.replace`` as Windows has it while a program keeps files of these names open."""
    replace = Path.replace

    def refused(self, target):
        if Path(target).name in names:
            raise PermissionError(13, "Access is denied", str(target))
        return replace(self, target)

    return refused


def test_a_file_that_is_open_elsewhere_stays_and_the_new_one_lies_beside(
    tmp_path, monkeypatch, caplog
):
    path = tmp_path / "runs.csv"
    assert write_text("old", path) == path
    monkeypatch.setattr(Path, "replace", refusing({"runs.csv"}))
    assert write_text("new", path) == tmp_path / "runs (new).csv"
    assert (path.read_text(), newest(path).read_text()) == ("old", "new")
    assert "is open in another program" in caplog.text
    monkeypatch.undo()
    assert write_text("newer", path) == path
    assert [file.name for file in tmp_path.iterdir()] == ["runs.csv"]
    assert newest(path).read_text() == "newer"


def test_nothing_is_left_behind_where_both_are_open(tmp_path, monkeypatch):
    path = write_text("old", tmp_path / "runs.csv")
    monkeypatch.setattr(Path, "replace", refusing({"runs.csv", "runs (new).csv"}))
    try:
        write_text("new", path)
    except PermissionError:
        assert [file.name for file in tmp_path.iterdir()] == ["runs.csv"]
    else:
        raise AssertionError("it did not say that it could not write")
