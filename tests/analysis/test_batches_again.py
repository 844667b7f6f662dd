"""Run pressed again, cut short, resumed: which runs are paired, and what is said of the others."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.side_by_side import side_by_side
from wattbench.analysis.summary import summarise
from wattbench.report import runs_frame
from wattbench.report.side_by_side import side_by_side_table
from wattbench.report.translation import translator

from ..made_runs import CONDITION

BEGAN = datetime(2026, 11, 20, 9, tzinfo=timezone.utc)


@pytest.fixture
def batch(make_run):
    """A function that makes the runs of one batch, a minute each, of ``(seed, repeat)``."""

    def make(arm, began_min, seconds, *rows, **changes):
        condition = replace(CONDITION, attention=arm)
        return [
            make_run(
                f"{arm} {began_min} {number}",
                denoise_s=seconds,
                condition=condition,
                seed=seed,
                repeat=repeat,
                started_at=(BEGAN + timedelta(minutes=began_min + number)).isoformat(),
                **changes,
            )
            for number, (seed, repeat) in enumerate(rows)
        ]

    return make


FOUR = ((0, 0), (1, 1), (2, 2), (3, 3))
SAME_SEED = ((7, 0), (7, 1), (7, 2), (7, 3))


def compared(runs):
    return summarise(runs_frame(runs)).iloc[1]


@pytest.mark.parametrize("rows", [FOUR, SAME_SEED])
def test_a_second_batch_twice_as_fast_changes_the_rate_and_not_the_ratio(batch, rows):
    first = [*batch("a", 0, 10.0, *rows), *batch("b", 10, 5.0, *rows)]
    again = [*batch("a", 100, 5.0, *rows), *batch("b", 110, 2.5, *rows)]
    once, twice = compared(first), compared([*first, *again])
    assert (once["pairs"], twice["pairs"]) == (4, 8)
    assert twice["it_per_s_mean"] == pytest.approx(1.5 * once["it_per_s_mean"])
    assert twice["it_per_s_ratio"] == pytest.approx(once["it_per_s_ratio"]) == pytest.approx(2)
    assert twice["it_per_s_ratio_high"] == pytest.approx(2)
    assert twice["comparison_note"] == ""


@pytest.mark.parametrize("rows", [FOUR, SAME_SEED])
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_batch_cut_short_is_paired_with_the_batch_beside_it(batch, rows, cut):
    """The board is twice as fast in the second batch; the arms are alike throughout."""
    runs = [*batch("a", 0, 10.0, *rows), *batch("b", 10, 10.0, *rows[:cut])]
    runs += [*batch("a", 100, 5.0, *rows), *batch("b", 110, 5.0, *rows)]
    row = compared(runs)
    assert row["pairs"] == 4 + cut
    assert row["it_per_s_ratio"] == pytest.approx(1)
    assert row["it_per_s_ratio_low"] == pytest.approx(1)
    assert row["comparison_note"] == f"{4 + cut} of 8 runs paired"


def test_the_baseline_cut_short_is_paired_with_the_batch_beside_it(batch):
    runs = [*batch("a", 0, 10.0, *FOUR[:1]), *batch("b", 10, 10.0, *FOUR)]
    runs += [*batch("a", 100, 5.0, *FOUR), *batch("b", 110, 5.0, *FOUR)]
    row = compared(runs)
    assert (row["pairs"], row["comparison_note"]) == (5, "5 of 8 runs paired")
    assert row["it_per_s_ratio_high"] == pytest.approx(1)


def test_a_repeat_that_failed_leaves_its_partner_alone(batch):
    """Not the next one: they are of one seed, and each repeat is slower than the one before."""
    base = [batch("a", n, 10.0 * 2**n, (7, n))[0] for n in range(4)]
    other = [batch("b", 10 + n, 5.0 * 2**n, (7, n))[0] for n in (0, 2, 3)]
    row = compared([*base, *other])
    assert (row["pairs"], row["comparison_note"]) == (3, "3 of 4 runs paired")
    assert row["it_per_s_ratio_low"] == pytest.approx(2)


def test_runs_that_do_not_count_are_nobody_s_partner(batch):
    base, other = batch("a", 0, 10.0, *FOUR), batch("b", 10, 5.0, *FOUR)
    other[1] = replace(other[1], not_counted="stopped for 12 s")
    other[2] = replace(other[2], error="out of memory")
    row = compared([*base, *other])
    assert (row["n"], row["pairs"]) == (2, 2)
    assert row["comparison_note"] == "2 of 4 runs paired"


def test_two_processes_with_one_visit_number_are_not_paired(batch):
    runs = batch("a", 0, 10.0, *FOUR, process_id="boot 1, pid 7")
    runs += batch("b", 10, 5.0, *FOUR, process_id="boot 2, pid 7")
    row = compared(runs)
    assert row["pairs"] == 0
    assert pd.isna(row["it_per_s_ratio"])


@pytest.fixture
def partly(batch):
    """Three of four runs have a partner, and two of these an energy."""
    other = batch("b", 10, 5.0, *FOUR[:3])
    other[0] = replace(other[0], energy=None, energy_note="the meter did not answer")
    return [*batch("a", 0, 10.0, *FOUR), *other]


SAID = "3 of 4 runs paired (× J/img: 2)"


def test_summary_report_and_card_say_how_many_are_paired(partly):
    found = Analysis.of(partly)
    assert list(found.summary["comparison_note"]) == ["baseline", SAID]
    assert f"× of b: {SAID}." in found.notes
    assert f"× of b: {SAID}." in found.glance.asides


def test_compare_says_how_many_are_paired(batch, partly):
    pair = [Analysis.of(partly[:4]), Analysis.of(partly[4:])]
    [[_, second]] = side_by_side(pair)
    assert (second.way, second.note) == ("paired", f"attention a → b; {SAID}")
    assert side_by_side_table(pair, ["x", "y"]).rows[1][-1] == second.note


def test_it_is_said_in_portuguese(partly):
    said = translator("pt-BR")(f"× of b: {SAID}.")
    assert said == "× de b: 3 de 4 execuções pareadas (× J/img: 2)."
