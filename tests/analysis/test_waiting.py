"""A card that waits for its host: the columns, the sentence, and what it advises."""

from dataclasses import replace

import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.waiting import waiting_notes
from wattbench.records import Busy
from wattbench.report import runs_frame

from ..made_runs import CONDITION, sampling_of


@pytest.fixture
def waiting(make_run):
    """A function that makes two runs whose card was busy for a share of their denoising."""

    def make(share, is_dynamic=True, note="", **condition):
        asked = replace(CONDITION, **condition)
        sampling = replace(sampling_of(asked), is_dynamic=is_dynamic, busy=Busy(share, 200, note))
        return [
            make_run(f"{seed}", seed=seed, condition=asked, samplings=(sampling,))
            for seed in (1, 2)
        ]

    return make


def test_the_columns_say_how_long_the_card_waited(waiting):
    row = runs_frame(waiting(0.25)).iloc[0]
    assert (row["gpu_busy_share"], row["host_wait_s"]) == (0.25, 7.5)
    assert (row["dynamic_vram"], row["busy_note"]) == ("on", "")


def test_they_are_blank_with_the_reason_where_it_is_not_known(waiting):
    row = runs_frame(waiting(None, is_dynamic=False, note="the device is the host")).iloc[0]
    assert row[["gpu_busy_share", "host_wait_s"]].isna().all()
    assert (row["dynamic_vram"], row["busy_note"]) == ("off", "the device is the host")


def test_samplings_weigh_by_their_time_and_one_unknown_leaves_all_unknown(make_run, waiting):
    (run, _) = waiting(0.2)
    short = replace(run.samplings[0], duration_s=30.0, busy=Busy(0.6, 20), is_dynamic=False)
    both = replace(run, samplings=(*run.samplings, short))
    row = runs_frame([both]).iloc[0]
    assert row["gpu_busy_share"] == pytest.approx((10 * 0.2 + 30 * 0.6) / 40)
    assert row["dynamic_vram"] == "on, off"
    unknown = replace(short, busy=Busy(None, 3, "too short"))
    row = runs_frame([replace(run, samplings=(*run.samplings, unknown))]).iloc[0]
    assert row[["gpu_busy_share"]].isna().all()
    assert row["busy_note"] == "too short"


@pytest.mark.parametrize(
    ("is_dynamic", "optimizations", "helps"),
    [
        (
            True,
            "",
            "put Static VRAM before the sampler if the model fits (or --disable-dynamic-vram), or "
            "put Compile before the sampler, or make larger batches",
        ),
        (False, "", "put Compile before the sampler, or make larger batches"),
        (False, "compile", "make larger batches"),
    ],
)
def test_what_helps_is_what_the_runs_did_without(is_dynamic, optimizations, helps, waiting):
    runs = waiting(0.19, is_dynamic, optimizations=optimizations)
    (note,) = [note for note in Analysis.of(runs).notes if "waited for the host" in note]
    assert ": the card waited for the host 81% of the denoising. " in note
    assert note.endswith(f"What helps: {helps}; a faster card does not")


@pytest.mark.parametrize(("share", "count"), [(0.79, 1), (0.81, 0), (None, 0)])
def test_a_card_that_hardly_waits_is_not_spoken_of(share, count, waiting):
    assert len(list(waiting_notes(runs_frame(waiting(share))))) == count


def test_both_kinds_of_vram_in_one_row_are_told(waiting):
    on, off = waiting(1.0, is_dynamic=True)[0], waiting(1.0, is_dynamic=False)[1]
    (note,) = waiting_notes(runs_frame([on, off]))
    assert note.endswith("two costs in one row")
