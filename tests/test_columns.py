"""docs/columns.md names every column that a table has, once, and no other."""

import re
from pathlib import Path

import pytest

from wattbench.analysis.runs_table import CONDITION_COLUMNS, ENVIRONMENT_COLUMNS, RUN_COLUMNS
from wattbench.analysis.summary import ALL_METRICS, SUMMARY_COLUMNS
from wattbench.report.nodes import NODE_COLUMNS
from wattbench.report.power_sweep import COLUMNS as SWEEP_COLUMNS

PAGE = Path(__file__).parent.parent / "docs" / "columns.md"
BY_THE_CONDITION = {*CONDITION_COLUMNS, *ENVIRONMENT_COLUMNS}


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
