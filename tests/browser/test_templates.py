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


NOTE = """() => {
    const { activeWorkflow } = app.extensionManager.workflow;
    const note = app.rootGraph.nodes.find((node) => node.type === "MarkdownNote");
    return [note.title, note.widgets[0].value, activeWorkflow.isModified];
}"""


def test_a_note_is_in_the_users_language_while_it_is_ours(uncomplaining):
    workflow = json.loads(WORKFLOWS[0].with_name("quickstart.json").read_text("utf-8"))
    note = next(node for node in workflow["nodes"] if node["type"] == "MarkdownNote")
    (english,) = note["widgets_values"]
    page = uncomplaining.page
    uncomplaining.load(workflow, "english")
    assert page.evaluate(NOTE) == ["Read me", english, False]
    try:
        uncomplaining.speak("pt-BR")
        uncomplaining.load(workflow, "translated")
        title, text, is_modified = page.evaluate(NOTE)
        assert (title, is_modified) == ("Leia-me", False)
        assert text.startswith("## Início rápido\n\nA arquitetura do SDXL")
        assert len(text.split("\n")) == len(english.split("\n"))
        note["widgets_values"] = [f"{english}\n\nMy own line."]
        uncomplaining.load(workflow, "own")
        assert page.evaluate(NOTE)[:2] == ["Read me", f"{english}\n\nMy own line."]
        note["widgets_values"], note["title"] = [text], "Leia-me"
        uncomplaining.load(workflow, "portuguese")
    finally:
        uncomplaining.speak("en")
    assert page.evaluate(NOTE)[:2] == ["Read me", english]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_notes_have_no_code(path):
    """Code in a note is blue on blue-grey in Nodes 2.0: nobody can read the file names there."""
    nodes = json.loads(path.read_text("utf-8"))["nodes"]
    notes = [node for node in nodes if node["type"] == "MarkdownNote"]
    assert all("`" not in note["widgets_values"][0] for note in notes)
