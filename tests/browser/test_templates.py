"""The shipped workflows as they open: no node on another, and readable notes."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from lay_out import TITLE_PX, boxes_of

WORKFLOWS = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))


def rectangle(box):
    return (
        box["x"],
        box["y"] - TITLE_PX,
        box["x"] + box["width"],
        box["y"] + box["height"],
    )


def overlap(first, second):
    a, b = rectangle(first), rectangle(second)
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_node_lies_on_another(uncomplaining, path):
    workflow = json.loads(path.read_text("utf-8"))
    boxes = boxes_of(uncomplaining, workflow, path.stem)
    assert len(boxes) == len(workflow["nodes"])
    on_another = [(a["type"], b["type"]) for a, b in combinations(boxes, 2) if overlap(a, b)]
    assert on_another == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_notes_have_no_code(path):
    """Code in a note is blue on blue-grey in Nodes 2.0: nobody can read the file names there."""
    nodes = json.loads(path.read_text("utf-8"))["nodes"]
    notes = [node for node in nodes if node["type"] == "MarkdownNote"]
    assert all("`" not in note["widgets_values"][0] for note in notes)
