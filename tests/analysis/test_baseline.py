"""The baseline is a condition of which all can be told, not the one that happened to run first."""

from dataclasses import replace
from itertools import permutations

import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.records import KernelCalls, PictureCheck
from wattbench.report import append_runs, read_runs
from wattbench.report.shown import summary_shown


@pytest.fixture
def arm(make_run):
    """A function that makes two runs of a condition that began at a minute of the hour."""

    def make(minute=0, calls=(), reference="", is_failed=False, **changes):
        condition = replace(make_run().condition, **changes)
        name = f"{minute} {sorted(changes.items())}"
        return [
            make_run(
                f"{name} {seed}",
                condition=condition,
                seed=seed,
                started_at=f"2026-11-20T09:{minute:02}:0{seed}.000+00:00",
                kernel_calls=calls,
                picture=PictureCheck(reference) if reference else None,
                error="out of memory" if is_failed else "",
            )
            for seed in (1, 2)
        ]

    return make


def first_of(runs):
    """The summary's first row; it is said to be the baseline."""
    rows = Analysis.of(runs).summary.to_dict("records")
    assert [row["comparison_note"] == "baseline" for row in rows] == [
        number == 0 for number in range(len(rows))
    ]
    return rows[0]


ASKED = (KernelCalls("attention", "sage_2", "sage_2", 10),)
CASES = {
    "bits": [
        {"weight_format": "bf16"},
        {"weight_format": "fp8_static"},
        {"weight_format": "int8_w8a8"},
        {"weight_format": "nf4"},
    ],
    "optimizations": [
        {"weight_format": "fp8"},
        {"optimizations": "compile"},
        {"optimizations": "channels_last, compile"},
    ],
    "attention": [
        {"attention": "xformers"},
        {"attention": "sage_2", "calls": ASKED},
    ],
    "sdpa": [
        {"attention": "sdpa", "calls": (KernelCalls("attention", "sdpa", "sdpa_flash", 10),)},
        {"attention": "sage_2", "calls": ASKED},
    ],
    "left to the host": [
        {"attention": "comfyui", "calls": (KernelCalls("attention", "comfyui", "pytorch", 10),)},
        {"attention": "sage_2", "calls": ASKED},
    ],
    "what ran": [{"weight_format": "nf4"}, {"weight_format": "bf16", "is_failed": True}],
}


@pytest.mark.parametrize("name", CASES)
def test_the_plainest_condition_is_the_baseline_in_any_order(name, arm):
    arms = CASES[name]
    expected = next(iter(arms[0].items()))
    for order in permutations(arms):
        runs = [run for minute, one in enumerate(order) for run in arm(minute, **one)]
        assert first_of(runs)[expected[0]] == expected[1]


def test_the_one_that_pictures_are_compared_with_is_the_baseline(arm):
    reference = arm(0, weight_format="nf4")
    runs = arm(1, reference=reference[0].run_id, weight_format="bf16") + reference
    assert first_of(runs)["weight_format"] == "nf4"


def test_a_node_shows_what_the_table_of_a_folder_says(arm, tmp_path):
    """Inputs of Join Runs are in the order of the graph, a journal in that of the execution."""
    plain, fp8, nf4 = (
        arm(2, weight_format="bf16"),
        arm(1, weight_format="fp8"),
        arm(0, weight_format="nf4"),
    )
    joined, journal = plain + fp8 + nf4, nf4 + fp8 + plain
    append_runs(joined, tmp_path / "node")
    append_runs(journal, tmp_path / "run")
    for name in ("runs.csv", "summary.csv", "report.md"):
        assert (tmp_path / "node" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    formats = list(Analysis(read_runs(tmp_path / "run" / "runs.csv")).summary["weight_format"])
    assert formats == ["bf16", "nf4", "fp8"]
    shown = summary_shown(joined)
    assert shown["rows"] == summary_shown(journal)["rows"]


def test_it_is_named(arm):
    runs = arm(0, weight_format="nf4") + arm(1, weight_format="bf16")
    notes = Analysis.of(runs).notes
    assert any(note.startswith("× is the ratio to the baseline (bf16) over") for note in notes)
