"""The file of the history: bounded, one writer, and a damaged line costs no other."""

import json
import subprocess
import sys

import pytest

from wattbench.measure.graph import history
from wattbench.measure.graph.costs import graph_cost
from wattbench.measure.graph.history import (
    History,
    HistoryTakenError,
    entry_of,
    read_history,
)
from wattbench.measure.graph.log import NodeLog
from wattbench.measure.recording.instrument import Recording


def entry(prompt_id, **changes):
    cost = graph_cost(prompt_id, "a card", Recording(end_s=2.5), NodeLog(), [])
    return {**entry_of(cost, "workflow", None, [], []), **changes}


def ids(path, most=history.MOST_PROMPTS):
    return [prompt["prompt_id"] for prompt in read_history(path, most).prompts]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "user" / "history.jsonl"


def fill(path, count, most, **changes):
    with History(path) as kept:
        for number in range(count):
            kept.append(entry(f"{number}", **changes), most)


def test_what_is_appended_is_read_oldest_first(path):
    assert read_history(path).prompts == ()
    fill(path, 3, 100)
    assert ids(path) == ["0", "1", "2"]
    assert ids(path, 2) == ["1", "2"]
    assert read_history(path).prompts[0] == entry("0")


def test_the_oldest_are_dropped(path):
    """Not at every prompt: the file is written anew when it is a quarter longer."""
    fill(path, 12, 10)
    assert len(ids(path)) == 12
    fill(path, 1, 10)
    assert ids(path) == [*map(str, range(3, 12)), "0"]


def test_the_file_is_no_larger_than_it_may_be(path, monkeypatch):
    line = len(history._line(entry("00")))
    monkeypatch.setattr(history, "MOST_BYTES", 10 * line)
    with History(path) as kept:
        for number in range(10, 20):
            kept.append(entry(f"{number}"), 1000)
        assert len(ids(path)) == 10
        kept.append(entry("20"), 1000)
    assert ids(path) == ["16", "17", "18", "19", "20"]


def test_an_entry_too_large_is_kept_without_its_nodes(path, monkeypatch):
    node = {"node_id": "1", "title": "a" * 100}
    size = len(history._line(entry("0", nodes=[node])))
    for limit, nodes in ((size, [node]), (size - 1, [])):
        monkeypatch.setattr(history, "MOST_ENTRY_BYTES", limit)
        fill(path, 1, 10, nodes=[node])
        found = read_history(path).prompts[-1]
        assert found["nodes"] == nodes
        assert (history.TOO_MANY_NODES in found["notes"]) == (not nodes)


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b"workflow", b"worKflow", 1),
        lambda line: line[: len(line) // 2] + b"\n",
        lambda line: b"\xff\xfe\x00" + line,
        lambda line: b"null\n",
        lambda line: b'{"schema_version":1,"prompt_id":"x"}\n',
        lambda line: b"[" * 100_000 + b"\n",
        lambda line: history._line({**json.loads(line), "nodes": "none"}),
        lambda line: history._line({**json.loads(line), "time_s": "1"}),
    ],
)
def test_a_damaged_line_costs_no_other(path, damage):
    fill(path, 3, 100)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + damage(lines[1]) + lines[2])
    found = read_history(path)
    assert [prompt["prompt_id"] for prompt in found.prompts] == ["0", "2"]
    assert found.damaged_count == 1


def test_what_a_crash_cut_short_costs_no_later_line(path):
    fill(path, 2, 100)
    path.write_bytes(path.read_bytes()[:-20])
    fill(path, 1, 100)
    assert ids(path) == ["0", "0"]


def test_a_later_version_is_passed_over(path, monkeypatch):
    fill(path, 1, 100)
    monkeypatch.setattr(history, "SCHEMA_VERSION", history.SCHEMA_VERSION + 1)
    fill(path, 1, 100)
    monkeypatch.undo()
    assert len(ids(path)) == 1


HOLD = """
import sys
from pathlib import Path
from wattbench.measure.graph.history import History

with History(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_there_is_one_writer(path):
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(HistoryTakenError, match="another ComfyUI"), History(path):
            pass
        other.stdin.close()
        assert other.wait(60) == 0
    fill(path, 1, 100)
    assert ids(path) == ["0"]


def test_all_can_be_forgotten(path):
    fill(path, 3, 100)
    History(path).clear()
    assert ids(path) == []
