"""A second file beside a summary that is shown: what is said of it, and what is refused."""

import csv
from dataclasses import replace

import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.report import beside
from wattbench.report.beside import NOTHING_ALIKE, own_text, shown_beside
from wattbench.tables.csv import frame_text

from ..made_runs import CONDITION


@pytest.fixture
def analysis_of(make_run):
    def make(denoise_s, count=4, **changes):
        condition = replace(CONDITION, **changes)
        return Analysis.of(
            [
                make_run(f"{denoise_s} {n}", denoise_s + 0.01 * n, seed=n, condition=condition)
                for n in range(count)
            ]
        )

    return make


@pytest.fixture
def own(analysis_of):
    return own_text(analysis_of(10).summary)


@pytest.mark.parametrize("table", ["summary", "frame"])
def test_the_file_may_be_a_summary_or_runs(own, analysis_of, table):
    shown = shown_beside(own, frame_text(getattr(analysis_of(5), table)), "b.csv")
    (row,) = shown["rows"]
    assert row["verdict"].startswith("The loaded file takes 41.61 % less energy per image")
    joules = row["metrics"][0]
    assert (joules["own"], joules["other"]) == ("1201.5 ± 2.1", "701.5 ± 2.1")
    assert joules["ratio"].startswith("0.58")
    assert shown["left_over"] == [0, 0]


@pytest.mark.parametrize(
    ("denoise_s", "count", "said"),
    [
        (20, 4, "The loaded file takes 83.23 % more energy per image"),
        (10, 4, "The two cannot be told apart in energy per image: +0.00 %"),
        (5, 1, "The loaded file: -41.7 % energy per image; one run has no interval."),
    ],
)
def test_the_verdict_says_as_much_as_is_known(own, analysis_of, denoise_s, count, said):
    shown = shown_beside(own, own_text(analysis_of(denoise_s, count).summary), "b.csv")
    assert shown["rows"][0]["verdict"].startswith(said)


def test_nothing_alike_is_said(own, analysis_of):
    shown = shown_beside(own, own_text(analysis_of(5, steps=3).summary), "b.csv")
    assert (shown["rows"], shown["note"]) == ([], NOTHING_ALIKE)
    assert shown["left_over"] == [1, 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a CSV table"),
        ("a,b\n1,2\n", "no summary.csv of this WattBench, and no runs.csv: it lacks condition"),
        ('"', "not a CSV table"),
        ("\x00" * 2**18, "too long for headings"),
    ],
)
def test_another_file_is_refused(own, text, reason):
    with pytest.raises(ValueError, match=reason):
        shown_beside(own, text, "b.csv")


@pytest.mark.parametrize("word", ["many", "inf", "-inf", "1e400"])
def test_a_word_for_a_number_is_refused(own, word):
    assert own.count(",1201.5,") == 1
    with pytest.raises(ValueError, match="no number"):
        shown_beside(own, own.replace(",1201.5,", f",{word},"), "b.csv")


@pytest.mark.parametrize("column", ["n", "steps", "cfg"])
def test_a_word_for_a_count_is_refused(own, column):
    head, first, *rest = own.splitlines()
    place = head.split(",").index(column)
    row = next(csv.reader([first]))
    row[place] = "many"
    line = ",".join(f'"{cell}"' for cell in row)
    with pytest.raises(ValueError, match="no number"):
        shown_beside(own, "\n".join([head, line, *rest]), "b.csv")


def test_a_file_larger_than_any_summary_is_refused(own, monkeypatch):
    monkeypatch.setattr(beside, "MOST_BYTES", len(own.encode()))
    assert shown_beside(own, own, "b.csv")["rows"]
    with pytest.raises(ValueError, match="larger than"):
        shown_beside(own, own + "\n", "b.csv")


def test_the_chart_has_both_files_and_pools_none(own, analysis_of):
    chart = shown_beside(own, own_text(analysis_of(5, 1).summary), "b.csv")["chart"]
    assert chart["files"] == (0, 1)
    joules = chart["measures"][0]
    first, second = joules["values"]
    assert (first["text"], first["half"]) == ("1201.5", "2.1")
    assert first["low"] < first["value"] < first["high"]
    assert (second["text"], second["half"], second["low"]) == ("700.0", "", None)
    assert joules["axis"][0] <= 700 < 1203.6 <= joules["axis"][-1]
