"""``nodes.csv``: prompts are added, other files are left alone."""

from dataclasses import replace

import pandas as pd
import pytest

from wattbench.measure.graph.costs import GraphCost, GraphNode, NodeCost
from wattbench.records import EnergyReading
from wattbench.report.nodes import NODE_COLUMNS, append_nodes, broken_lines

READING = EnergyReading(5.5, 1.0, "nvml:0", "gpu", "attributed", 10.0, 9)


@pytest.fixture
def cost():
    return GraphCost(
        prompt_id="p",
        started_at="2026-01-01T00:00:00.000+00:00",
        device="a card",
        time_s=3.0,
        nodes=(
            NodeCost(GraphNode("1", "A", "a, title"), "executed", 0.0, 1.0, READING),
            NodeCost(GraphNode("2", "B"), "executed", 1.0, 0.01, note="too short"),
            NodeCost(GraphNode("3", "C"), "cached"),
        ),
        energy=READING,
        energy_note="",
        vram=None,
        vram_note="no VRAM here",
    )


def test_prompts_are_added_to_the_table(tmp_path, cost):
    path = tmp_path / "deep" / "nodes.csv"
    append_nodes(cost, path)
    append_nodes(cost, path)
    table = pd.read_csv(path)
    assert list(table.columns) == NODE_COLUMNS
    assert list(table["node_id"]) == [1, 2, 3, 1, 2, 3]
    assert table["title"][0] == "a, title"
    assert list(table["energy_j"].fillna(-1)[:3]) == [5.5, -1, -1]
    assert list(table["energy_method"].fillna("")[:3]) == ["attributed", "", ""]
    assert table["note"][1] == "too short; VRAM: no VRAM here"
    assert table["note"].isna()[2]


def test_another_file_is_left_alone(tmp_path, cost):
    path = tmp_path / "nodes.csv"
    path.write_text("mine,too\n1,2\n", "utf-8")
    with pytest.raises(ValueError, match=r"nodes\.csv of this WattBench version"):
        append_nodes(cost, path)
    assert path.read_text("utf-8") == "mine,too\n1,2\n"


def test_a_row_that_was_cut_short_does_not_take_the_next_with_it(tmp_path, cost):
    path = tmp_path / "nodes.csv"
    append_nodes(cost, path)
    path.write_bytes(path.read_bytes()[:-30])
    append_nodes(cost, path)
    whole, [(line, reason)] = broken_lines(path.read_bytes())
    assert (whole, line) == (5, 4)
    assert "cut short" in reason


def test_changed_cells_are_noticed_and_repairs_of_editors_are_not(tmp_path, cost):
    path = tmp_path / "nodes.csv"
    append_nodes(cost, path)
    data = path.read_bytes()
    assert broken_lines(data) == (3, [])
    assert broken_lines(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")) == (3, [])
    whole, [(line, reason)] = broken_lines(data.replace(b"5.5", b"5.6", 1))
    assert (whole, line) == (2, 2)
    assert "checksum" in reason
    path.write_bytes(b"\xef\xbb\xbf" + data)
    append_nodes(cost, path)
    assert broken_lines(path.read_bytes()) == (6, [])


def test_a_table_from_before_checksums_stays_one(tmp_path, cost):
    path = tmp_path / "nodes.csv"
    path.write_text(",".join(NODE_COLUMNS[:-1]) + "\n", "utf-8")
    append_nodes(cost, path)
    assert broken_lines(path.read_bytes()) == (3, [])
    assert list(pd.read_csv(path).columns) == NODE_COLUMNS[:-1]


def test_an_empty_file_becomes_a_table(tmp_path, cost):
    path = tmp_path / "nodes.csv"
    path.touch()
    append_nodes(cost, path)
    assert broken_lines(path.read_bytes()) == (3, [])


def test_a_title_of_several_lines_stays_one_row(tmp_path, cost):
    node = NodeCost(GraphNode("9", "A", 'two\nlines, "quoted"'), "executed", 0.0, 1.0)
    path = tmp_path / "nodes.csv"
    append_nodes(replace(cost, nodes=(node,)), path)
    assert broken_lines(path.read_bytes()) == (1, [])
    assert pd.read_csv(path)["title"][0] == 'two lines, "quoted"'


def test_a_title_that_no_text_can_hold_is_a_row_that_is_whole(tmp_path, cost):
    """A prompt can bring half of a surrogate pair."""
    path = tmp_path / "nodes.csv"
    nodes = (replace(cost.nodes[0], node=GraphNode("1", "A", "a\ud800\udcff")),)
    append_nodes(replace(cost, nodes=nodes), path)
    assert pd.read_csv(path)["title"].tolist() == ["a\\ud800\\udcff"]
    assert broken_lines(path.read_bytes()) == (1, [])
