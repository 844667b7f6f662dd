"""``nodes.csv``: prompts are added, other files are left alone."""

import pandas as pd
import pytest

from wattbench.measure.graph.costs import GraphCost, GraphNode, NodeCost
from wattbench.records import EnergyReading
from wattbench.report.nodes import NODE_COLUMNS, append_nodes

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
