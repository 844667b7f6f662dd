"""CSV: no cell is a formula, and what is read is what was written."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.tables.csv import as_it_was, csv_text, harmless, read_frame, write_frame

FORMULAS = [
    "=cmd|' /C calc'!A0",
    "=HYPERLINK(1)",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "--lowvram",
    "\n=1+1",
    " =1+1",
    "\u3000\uff1d1+1",
    "\uff0b1",
    "\uff20SUM(1)",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula(text):
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize(
    "cell", ["a=b", " moth", "", "'quoted'", "-0.5", "+3", "-1e-05", -0.5, 3, None]
)
def test_other_cells_stay(cell):
    assert harmless(cell) == cell


@given(st.text(alphabet="'=+-@\t\r\n \uff1da1", max_size=6))
def test_every_text_comes_back(text):
    assert as_it_was(harmless(text)) == text


def test_rows_are_harmless():
    assert csv_text([("a", "b"), ("=1", -1.5), ("\r", "c")]) == "a,b\n'=1,-1.5\n\"'\r\",c\n"


def test_half_of_a_surrogate_pair_does_not_lose_a_table(tmp_path):
    path = write_frame(pd.DataFrame({"text": ["no file a\udcffb", "c"]}), tmp_path / "t.csv")
    assert list(read_frame(path)["text"]) == ["no file a\\udcffb", "c"]


@pytest.mark.parametrize("for_excel", [False, True])
def test_a_table_comes_back_to_the_last_bit(tmp_path, for_excel):
    texts = [*FORMULAS, "'=x", 'a "b", c\nd', "Größe"]
    numbers = [math.pi / 10**n for n in range(len(texts))]
    frame = pd.DataFrame({"text": texts, "number": numbers})
    path = write_frame(frame, tmp_path / "t.csv", for_excel=for_excel)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") == for_excel
    read = read_frame(path)
    assert list(read["text"]) == texts
    assert list(read["number"]) == numbers
