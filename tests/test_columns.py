"""docs/columns.md says what each table's columns are, as they are declared and once each."""

import re

import pytest

from wattbench.analysis.columns import (
    ALL_METRICS,
    COLUMNS,
    CONDITION_COLUMNS,
    ENVIRONMENT_COLUMNS,
    RUN_COLUMNS,
)
from wattbench.analysis.runs_table import runs_frame
from wattbench.analysis.summary import SUMMARY_COLUMNS
from wattbench.report.columns_page import PAGE, written
from wattbench.report.nodes import NODE_COLUMNS
from wattbench.report.power_sweep import COLUMNS as SWEEP_COLUMNS

BY_THE_CONDITION = {*CONDITION_COLUMNS, *ENVIRONMENT_COLUMNS}
UNITS = {
    "_s": "s",
    "_j": "J",
    "_w": "W",
    "_px": "px",
    "_bytes": "B",
    "_hz": "Hz",
    "_c": "°C",
    "_db": "dB",
    "_per_s": "/s",
}
"""How a name ends, and how its unit does."""


def documented(table):
    """The names in the first column of a section, with `_low` and its like written out."""
    section = PAGE.read_text("utf-8").split(f"\n## {table}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in written_out(re.findall(r"`([^`]+)`", row))]


def written_out(names):
    """``["a_ratio", "_low"]`` means a_ratio and a_ratio_low, ``<metric>`` each metric."""
    bases = [name for name in names if not name.startswith("_")]
    endings = [name for name in names if name.startswith("_")]
    found = [*bases, *(base.removesuffix("_mean") + end for base in bases for end in endings)]
    return [
        name.replace("<metric>", metric)
        for name in found
        for metric in (ALL_METRICS if "<metric>" in name else ("",))
    ]


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("runs.csv", RUN_COLUMNS),
        ("summary.csv", [name for name in SUMMARY_COLUMNS if name not in BY_THE_CONDITION]),
        ("powercap.csv", SWEEP_COLUMNS),
        ("nodes.csv", NODE_COLUMNS),
    ],
)
def test_every_column_is_documented_once(table, columns):
    assert sorted(documented(table)) == sorted(columns)


def test_the_page_is_as_the_columns_are_declared():
    page = PAGE.read_text("utf-8")
    assert written(page) == page, "run: python -m wattbench.report.columns_page"


def test_the_page_says_what_was_declared_and_leaves_the_rest():
    stale = "before\n<!-- columns of metrics -->\nold\n<!-- end -->\nafter\n"
    page = written(stale)
    assert page.startswith("before\n<!-- columns of metrics -->\n\n- `it_per_s` (it/s)\n")
    assert page.endswith("<!-- end -->\nafter\n")
    assert "old" not in page


def test_names_end_in_their_units():
    for column in COLUMNS:
        endings = [ending for ending in UNITS if column.name.endswith(ending)]
        if endings:
            assert column.unit.endswith(UNITS[max(endings, key=len)]), column.name


def test_each_column_is_declared_once():
    assert len(set(RUN_COLUMNS)) == len(RUN_COLUMNS)


def test_columns_have_their_types_in_every_table(make_run):
    failed = make_run("b", error="out of memory", phases=(), energy=None, vram=None, rss=None)
    types = {"integer": "Int64", "unsigned": "UInt64", "flag": "bool", "number": "float64"}
    expected = {column.name: types[column.type] for column in COLUMNS if column.type in types}
    for runs in ([], [make_run("a"), failed], [failed]):
        frame = runs_frame(runs)
        assert {name: str(frame[name].dtype) for name in expected} == expected
        for name in set(RUN_COLUMNS) - set(expected):
            assert all(isinstance(cell, str) for cell in frame[name])
