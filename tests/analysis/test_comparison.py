"""Treatments beside the baseline: what differs, by how much, and never with a broken picture."""

from dataclasses import replace

import pandas as pd
import pytest

from wattbench.analysis.comparison import NO_PAIRS
from wattbench.analysis.summary import summarise
from wattbench.records import KernelCalls, PictureCheck
from wattbench.report import read_runs, runs_frame, table_of, write_all


@pytest.fixture
def arm(make_run):
    """A function that makes the runs of one arm, a seed each; ``changes`` go to the condition."""

    def make(name, denoise_s, seeds=(1, 2, 3), picture=None, visit=1, calls=(), **changes):
        condition = replace(make_run().condition, **changes)
        return [
            make_run(
                f"{name}{visit}{seed}",
                denoise_s=denoise_s + seed / 10,
                condition=condition,
                seed=seed,
                repeat=i,
                visit=visit,
                picture=picture,
                kernel_calls=calls,
            )
            for i, seed in enumerate(seeds)
        ]

    return make


def cells(runs):
    """The table's rows as dictionaries by heading."""
    table = table_of(runs_frame(runs))
    return [dict(zip(table.headings, row, strict=True)) for row in table.rows], table


def test_ratio_over_runs_of_the_same_seed(arm):
    runs = arm("a", 10.0) + arm("b", 5.0, attention="sage_2")
    baseline, treatment = summarise(runs_frame(runs)).to_dict("records")
    expected = [(10 + s / 10) / (5 + s / 10) for s in (1, 2, 3)]
    assert baseline["comparison_note"] == "baseline"
    assert pd.isna(baseline["it_per_s_ratio"])
    assert treatment["pairs"] == 3
    assert treatment["it_per_s_ratio"] == pytest.approx(
        (expected[0] * expected[1] * expected[2]) ** (1 / 3)
    )
    low, high = treatment["it_per_s_ratio_low"], treatment["it_per_s_ratio_high"]
    assert low < treatment["it_per_s_ratio"] < high
    assert treatment["j_per_img_ratio"] < 1


def test_order_of_seeds_does_not_matter(arm):
    runs = arm("a", 10.0) + arm("b", 5.0, seeds=(3, 2, 1), attention="sage_2")
    (_, shuffled) = summarise(runs_frame(runs)).to_dict("records")
    (_, ordered) = summarise(
        runs_frame(arm("a", 10.0) + arm("b", 5.0, attention="sage_2"))
    ).to_dict("records")
    assert shuffled["it_per_s_ratio_high"] == pytest.approx(ordered["it_per_s_ratio_high"])


def test_several_visits_are_several_values(arm):
    runs = [
        run
        for visit in (1, 2)
        for run in arm("a", 10.0 * visit, visit=visit)
        + arm("b", 5.0 * visit, visit=visit, attention="sage_2")
    ]
    (_, treatment) = summarise(runs_frame(runs)).to_dict("records")
    one_visit = summarise(runs_frame([run for run in runs if run.visit == 1])).iloc[1]
    width = treatment["it_per_s_ratio_high"] - treatment["it_per_s_ratio_low"]
    assert treatment["pairs"] == 6
    assert width > one_visit["it_per_s_ratio_high"] - one_visit["it_per_s_ratio_low"]


def test_columns_are_those_that_differ(arm):
    runs = arm("a", 10.0) + arm("b", 5.0, attention="sage_2", optimizations="channels_last")
    rows, table = cells(runs)
    assert [row["Attention"] for row in rows] == ["sdpa", "sage_2"]
    assert [row["Optimizations"] for row in rows] == ["—", "channels_last"]
    assert "Weights" not in table.headings
    assert rows[0]["× it/s"] == "1"
    assert rows[1]["× it/s"].startswith("1.9")
    assert any("same seed" in note for note in table.notes)


def test_one_condition_has_the_plain_table(arm):
    _, table = cells(arm("a", 10.0))
    assert not {"Attention", "× it/s"} & set(table.headings)


def test_a_broken_picture_is_no_saving(arm):
    fault = PictureCheck("a11", "the picture is black", 5.0, 0.1)
    runs = arm("a", 10.0) + arm("b", 2.0, attention="sage_1", picture=fault)
    summary = summarise(runs_frame(runs))
    rows, table = cells(runs)
    assert pd.isna(summary.iloc[1]["it_per_s_ratio"])
    assert summary.iloc[1]["comparison_note"] == "3 of 3 pictures are broken"
    assert rows[1]["Condition"].endswith("[broken picture]")
    assert rows[1]["× J/img"] == "broken picture"
    (note,) = (note for note in table.notes if "broken" in note)
    assert "3 of 3 pictures" in note
    assert "the picture is black" in note
    assert "no saving" in note


def test_nothing_is_saved_against_a_broken_picture(arm):
    fault = PictureCheck("", "the picture is black")
    runs = arm("a", 10.0, picture=fault) + arm("b", 2.0, attention="sage_1")
    summary = summarise(runs_frame(runs))
    assert pd.isna(summary.iloc[1]["it_per_s_ratio"])
    assert summary.iloc[1]["comparison_note"] == "pictures of the baseline are broken"


def test_good_pictures_are_told_at_their_worst(arm):
    good = PictureCheck("a11", "", 34.5, 0.97)
    _, table = cells(arm("a", 10.0) + arm("b", 5.0, attention="sage_2", picture=good))
    (note,) = (note for note in table.notes if note.startswith("Pictures"))
    assert "at worst PSNR 34.5 dB, SSIM 0.970" in note


def test_pictures_too_small_for_ssim_that_are_equal(arm):
    equal = PictureCheck("a11")
    _, table = cells(arm("a", 10.0) + arm("b", 5.0, attention="sage_2", picture=equal))
    (note,) = (note for note in table.notes if note.startswith("Pictures"))
    assert note.endswith("are equal to those of the same seed.")


def test_fall_backs_mark_the_row(arm):
    calls = (KernelCalls("attention", "sage_2", "sdpa", 12, reason="it takes no mask"),)
    rows, table = cells(arm("a", 10.0) + arm("b", 5.0, attention="sage_2", calls=calls))
    assert "[fall-backs]" in rows[1]["Condition"]
    assert "[fall-backs]" not in rows[0]["Condition"]
    assert "Attention of sage_2 was not what ran: sdpa, because it takes no mask: 12" in table.notes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"steps": 8}, "another work than the baseline's"),
        ({"attention": "sage_2", "seeds": (7, 8, 9)}, NO_PAIRS),
    ],
)
def test_what_cannot_be_compared_has_no_ratio(arm, changes, reason):
    summary = summarise(runs_frame(arm("a", 10.0) + arm("b", 5.0, **changes)))
    assert pd.isna(summary.iloc[1]["it_per_s_ratio"])
    assert summary.iloc[1]["comparison_note"] == reason


def test_another_machine_has_no_ratio(arm):
    other = [
        replace(run, environment=replace(run.environment, gpu_uuid="GPU-2"))
        for run in arm("b", 5.0)
    ]
    summary = summarise(runs_frame(arm("a", 10.0) + other))
    assert summary.iloc[1]["comparison_note"] == "another environment than the baseline's"


def test_another_meter_has_no_ratio_of_energy(make_run, arm):
    runs = arm("a", 10.0) + [
        make_run(f"b{s}", 5.0, meter="estimate", seed=s, repeat=s) for s in (1, 2, 3)
    ]
    treatment = summarise(runs_frame(runs)).iloc[1]
    assert treatment["it_per_s_ratio"] > 1.9
    assert pd.isna(treatment["j_per_img_ratio"])


def test_tables_read_back_compare_alike(arm, tmp_path):
    runs = arm("a", 10.0) + arm("b", 5.0, attention="sage_2", picture=PictureCheck("a11", "", 30.0))
    paths = write_all(runs, tmp_path)
    again = summarise(read_runs(paths[0]))
    pd.testing.assert_frame_equal(again, summarise(runs_frame(runs)))
    assert "× it/s" in paths[2].read_text("utf-8")
