"""A run is on the disk when ``append`` returns, and not only in the system's cache."""

import os

import pytest

from wattbench.measure.protocol.journal import Journal, parse


@pytest.fixture
def synced(monkeypatch):
    """What each file held when it was synced, by inode, in order; syncing itself goes on."""
    calls, fsync = [], os.fsync

    def record(descriptor):
        status = os.fstat(descriptor)
        calls.append((status.st_ino, status.st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return calls


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "cut short by a crash"])
def test_each_line_is_synced_when_it_is_whole_and_before_append_returns(
    tmp_path, make_run, synced, is_new
):
    path = tmp_path / "journal.jsonl"
    if not is_new:
        path.write_text('{"schema_version":1,"run_', "utf-8")
    journal = Journal(path)
    appends = [
        lambda: journal.append(make_run("a")),
        lambda: journal.append(make_run("b")),
        lambda: journal.append_idle_after([make_run("a")], 130.0),
    ]
    for append in appends:
        synced.clear()
        append()
        status = path.stat()
        assert synced[-1] == (status.st_ino, status.st_size), "nothing was written after it"
    assert [run.run_id for run in parse(path.read_text("utf-8"))] == ["a", "b"]
