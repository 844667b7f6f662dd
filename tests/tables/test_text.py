"""Tables on a terminal: aligned, no wider than it, and nothing in them commands it."""

from collections import Counter

import pytest

from wattbench.tables.table import Table
from wattbench.tables.text import as_text

TABLE = Table(
    ("Condition", "n", "J/img"),
    (("a model with a long name, 1024x1024", "3", "12.0 ± 0.1"), ("b", "10", "9")),
    ("A note that is longer than a narrow terminal is wide.",),
)


def test_columns_are_aligned():
    lines = as_text(TABLE).splitlines()
    assert lines[0] == "Condition                            n   J/img"
    assert lines[1] == "-----------------------------------  --  ----------"
    assert lines[3] == "b                                    10  9"
    assert lines[4] == f"* {TABLE.notes[0]}"


@pytest.mark.parametrize("width", [10, 17, 18, 23, 30, 49, 50])
def test_no_line_is_wider_than_the_terminal_and_no_character_is_lost(width):
    text = as_text(TABLE, width)
    assert max(map(len, text.splitlines())) <= width
    words = "".join([*TABLE.headings, *(cell for row in TABLE.rows for cell in row), *TABLE.notes])
    lost = Counter(words.replace(" ", "")) - Counter(text)
    assert not lost


def test_a_table_that_fits_is_left_alone():
    width = max(map(len, as_text(TABLE).splitlines()))
    assert as_text(TABLE, width) == as_text(TABLE)
    assert as_text(TABLE, width - 1) != as_text(TABLE)


def test_a_terminal_too_narrow_for_columns_gets_lists():
    assert "J/img: 12.0 ± 0.1" in as_text(TABLE, 17).splitlines()


def test_words_and_intervals_stay_whole():
    lines = as_text(TABLE, 30).splitlines()
    assert lines[2] == "a model with a  3   12.0 ± 0.1"
    assert lines[3] == "long name,"


def test_few_rows_of_many_columns_stand_side_by_side():
    columns = tuple(f"column {n}" for n in range(12))
    rows = tuple(tuple(f"{n}.{row}" for n in range(12)) for row in range(3))
    text = as_text(Table(columns, rows), 40).splitlines()
    assert text[0] == "column 0   0.0   0.1   0.2"
    assert text[12] == "column 11  11.0  11.1  11.2"
    many = as_text(Table(columns, (*rows, rows[0])), 40).splitlines()
    assert many[0] == "column 0: 0.0"


def test_a_name_cannot_command_the_terminal():
    text = as_text(Table(("\x1b[2J",), (("a\nb\rc\u202e",),)))
    assert text.splitlines() == [" [2J", "------", "a b c"]
