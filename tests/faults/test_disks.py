"""Disks that are full, that have no room for another file, or that only let read."""

import contextlib
import os
import subprocess
import sys

import pytest

from wattbench import cli
from wattbench.measure.power_limit.base import PowerLimitError
from wattbench.measure.power_limit.unrestored import Change, Unrestored
from wattbench.measure.protocol.journal import Journal, read
from wattbench.report.nodes import append_nodes, broken_lines

from ..report.test_nodes import cost

__all__ = ["cost"]


@pytest.fixture
def small_disk(tmp_path):
    """Call ``small_disk("size=64k")``: the folder of a file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if sys.platform != "linux" or os.geteuid() or subprocess.call(command, stderr=-3):
            pytest.skip("a file system of its own needs Linux, root and the right to mount")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_costs_only_the_run_that_does_not_fit(small_disk, make_run, figures):
    folder = small_disk("size=64k")
    journal = Journal(folder / "journal.jsonl")
    kept = []
    with pytest.raises(OSError, match=r"No space left on device.*make room"):
        for number in range(10_000):
            journal.append(make_run(f"run {number}"))
            kept.append(f"run {number}")
    assert len(kept) > 5
    assert [run.run_id for run in read(journal.path.read_bytes()).runs] == kept
    remount(folder, "size=256k")
    journal.append(make_run("after"))
    contents = read(journal.path.read_bytes())
    assert [run.run_id for run in contents.runs] == [*kept, "after"]
    assert len(contents.left_out) <= 1
    figures(runs=len(kept), lost=0)


def test_a_disk_without_room_for_a_file_is_said_before_a_run(small_disk):
    folder = small_disk("nr_inodes=2")
    (folder / "last").touch()
    with pytest.raises(OSError, match="No space left"):
        Journal(folder / "journal.jsonl")


def test_a_disk_that_only_lets_read_is_said_before_a_run(small_disk, make_run):
    folder = small_disk("size=64k")
    journal = Journal(folder / "journal.jsonl")
    journal.append(make_run("a"))
    remount(folder, "ro")
    with pytest.raises(OSError, match="Read-only"):
        Journal(folder / "journal.jsonl")
    with pytest.raises(OSError, match=r"Read-only file system.*give it the rights"):
        journal.append(make_run("b"))
    assert len(read(journal.path.read_bytes()).runs) == 1
    remount(folder, "rw")


def test_a_table_of_nodes_on_a_full_disk(small_disk, cost):
    folder = small_disk("size=16k")
    path = folder / "nodes.csv"
    with pytest.raises(OSError, match="No space"):
        for _ in range(1000):
            append_nodes(cost, path)
    whole, broken = broken_lines(path.read_bytes())
    assert whole > 3
    assert len(broken) <= 1
    remount(folder, "size=64k")
    append_nodes(cost, path)
    assert broken_lines(path.read_bytes())[0] == whole + 3


class Named:
    name, identity = "nvml:0", "GPU-1"


@pytest.mark.parametrize("options", ["size=4k", "nr_inodes=3"])
def test_the_former_limit_that_cannot_be_kept_is_an_error_before_the_change(small_disk, options):
    folder = small_disk(options)
    with contextlib.suppress(OSError):
        (folder / "fills").write_bytes(b"x" * 4096)
    with (
        pytest.raises(PowerLimitError, match="cannot be written: No space left"),
        Unrestored(Named(), folder) as unrestored,
    ):
        unrestored.write(Change(350.0, (200.0,)))
        unrestored.write(Change(350.0, (200.0, 150.0)))
        (folder / "another").write_bytes(b"x" * 8192)


def test_tables_on_a_full_disk_are_whole_or_not_there(small_disk, tmp_path, make_run, capsys):
    """What was measured stays in the journal, and the message says so."""
    folder = small_disk("size=8k")
    journal = Journal(tmp_path / "journal.jsonl")
    for number in range(20):
        journal.append(make_run(f"run {number}"))
    code = cli.main(["summary", str(journal.path), "--out", str(folder / "out")])
    printed = capsys.readouterr()
    assert code == 1
    assert "No space left" in printed.err
    assert "Traceback" not in printed.err
    assert "it/s" in printed.out
    for file in (folder / "out").glob("*.csv"):
        assert file.read_bytes().endswith(b"\n")
