"""A journal of 100 runs with one byte changed, again and again."""

import random
from time import perf_counter

import pytest

from wattbench.measure.protocol import codec
from wattbench.measure.protocol.journal import dumps, read
from wattbench.report.nodes import NODE_COLUMNS, append_nodes, broken_lines

from ..report.test_nodes import cost

__all__ = ["cost"]

RUN_COUNT = 100


@pytest.fixture(scope="module")
def dice():
    return random.Random(20261130)


def with_one_byte_changed(data, dice):
    place = dice.randrange(len(data))
    other = dice.choice((0, 10, 13, 34, 123, 255, dice.randrange(256)))
    return data[:place] + bytes([other]) + data[place + 1 :], data.count(b"\n", 0, place)


@pytest.mark.parametrize("write", [dumps, codec.dumps], ids=["sealed", "earlier"])
def test_one_byte_costs_one_run_at_most(make_run, dice, soaks, figures, write):
    lines = [write(make_run(f"run {number}")).encode() for number in range(RUN_COUNT)]
    data = b"\n".join(lines) + b"\n"
    changes = 2000 if soaks else 60
    lost = wrong = 0
    began_s = perf_counter()
    original = {run.run_id: run for run in read(data).runs}
    assert len(original) == RUN_COUNT
    for _ in range(changes):
        changed, line = with_one_byte_changed(data, dice)
        contents = read(changed)
        found = {run.run_id: run for run in contents.runs}
        whole = {name for name, run in found.items() if original.get(name) == run}
        missing = original.keys() - whole
        assert missing <= {f"run {line}"}
        assert bool(missing) <= bool(contents.left_out or contents.notes or write is codec.dumps)
        lost += len(missing)
        wrong += sum(original.get(name) != run for name, run in found.items())
    if write is dumps:
        assert wrong == 0  # A damaged line is never taken for a whole one.
    figures(changes=changes, lost_runs=lost, taken_damaged=wrong, wall_s=perf_counter() - began_s)


@pytest.mark.parametrize("length", [1, 512, 4096, 100_000])
def test_a_block_of_zeros_costs_what_it_covers(make_run, dice, length):
    lines = [dumps(make_run(f"run {number}")).encode() for number in range(RUN_COUNT)]
    data = b"\n".join(lines) + b"\n"
    place = dice.randrange(len(data) - length)
    contents = read(data[:place] + b"\x00" * length + data[place + length :])
    covered = data.count(b"\n", 0, place + length) - data.count(b"\n", 0, place) + 1
    assert len(contents.runs) >= RUN_COUNT - covered


def test_one_byte_of_a_table_of_nodes_is_noticed(cost, tmp_path, dice, soaks, figures):
    path = tmp_path / "nodes.csv"
    for _ in range(20):
        append_nodes(cost, path)
    data = path.read_bytes()
    header = len(",".join(NODE_COLUMNS)) + 1
    whole, broken = broken_lines(data)
    assert (whole, broken) == (60, [])
    changes = 2000 if soaks else 200
    unnoticed = 0
    for _ in range(changes):
        rest, _ = with_one_byte_changed(data[header:], dice)
        found, broken = broken_lines(data[:header] + rest)
        assert found >= 58
        unnoticed += not broken and rest != data[header:]
    assert unnoticed == 0
    figures(changes=changes, unnoticed=unnoticed)
