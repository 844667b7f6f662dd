"""Sets of prompts: what is shipped, what a file holds, and which part of it is taken."""

import json

import pytest

from wattbench.incoming import IncomingError
from wattbench.quality.prompts import (
    EDGE_NODES,
    SETS,
    WATTBENCH_13,
    PromptSet,
    prompt_id,
    read_set,
)


def test_what_is_shipped():
    assert list(SETS) == ["wattbench_13", "edge_nodes"]
    assert len(set(WATTBENCH_13.texts)) == 13
    assert len(EDGE_NODES.texts) == 1
    assert EDGE_NODES.texts[0].startswith("cute chibi-style plush moth character")


COCO = {
    "images": [{"id": 1}, {"id": 2}],
    "annotations": [
        {"id": 12, "image_id": 1, "caption": "later of the first"},
        {"id": 11, "image_id": 1, "caption": "A cat on a mat.\n"},
        {"id": 13, "image_id": 2, "caption": "Two boats"},
    ],
}


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("list.txt", "one\r\n\r\n  two, three \n# four", ("one", "two, three", "# four")),
        ("list", "one", ("one",)),
        ("rows.csv", 'seed,Prompt\n1,"a, b"\n2,c\n3,\n', ("a, b", "c")),
        ("rows.csv", "\ufeffcaption\nx\n", ("x",)),
        ("lines.jsonl", '{"text": "a"}\n\n"b"\n{"prompt": "c", "text": "d"}', ("a", "b", "c")),
        ("list.json", '["a", {"caption": "b"}]', ("a", "b")),
        ("captions_val2014.json", json.dumps(COCO), ("A cat on a mat.", "Two boats")),
    ],
)
def test_files(tmp_path, name, content, texts):
    path = tmp_path / name
    path.write_text(content, "utf-8")
    found = read_set(path, "blurry")
    assert (found.texts, found.negative, found.name) == (texts, "blurry", path.stem)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "seed,negative\n1,2\n"),
        ("rows.csv", 'prompt\n"' + "x" * 200_000),
        ("lines.jsonl", '{"seed": 1}'),
        ("lines.jsonl", "7"),
        ("lines.jsonl", "{not json"),
        ("x.json", '{"annotations": [{"caption": "no image"}]}'),
        ("x.json", "[7]"),
        ("x.json", "[" * 100_000),
        ("x.json", "7"),
        ("blank.txt", " \n\n"),
        ("latin.txt", b"caf\xe9"),
    ],
)
def test_files_that_hold_no_prompts(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=name.split(".")[0]):
        read_set(path)


def test_a_part_goes_round():
    whole = PromptSet("x", ("a", "b", "c"), "n")
    assert whole.part(0, 0) == whole
    assert whole.part(1, 2).texts == ("b", "c")
    assert whole.part(2, 2).texts == ("c", "a")
    assert whole.part(4, 0).texts == ("b", "c", "a")
    assert whole.part(0, 9).texts == whole.texts
    assert whole.part(1, 1).negative == "n"


def test_labels_tell_sets_apart():
    labels = {PromptSet("x", texts, n).label for texts in (("a",), ("b",)) for n in ("", "n")}
    assert len(labels) == 4
    assert all(label.startswith("x ") for label in labels)
    assert PromptSet("x", ("a",), "n").prompt_id(0) == prompt_id("a", "n") != prompt_id("a", "")


def test_a_set_holds_something(tmp_path):
    with pytest.raises(ValueError, match="no prompt"):
        PromptSet("x", ())
    with pytest.raises(IncomingError):
        read_set(tmp_path / "missing.txt")
