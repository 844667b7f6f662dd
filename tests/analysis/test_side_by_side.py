"""Two folders beside each other: what is paired, what is not, and what differs."""

from dataclasses import replace

import numpy as np
import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.side_by_side import side_by_side
from wattbench.report.side_by_side import side_by_side_frame, side_by_side_table
from wattbench.stats import unpaired_ratio

from ..made_runs import CONDITION, ENVIRONMENT


@pytest.fixture
def folder(make_run):
    """Runs of conditions that take so many seconds to denoise, as one folder."""

    def make(costs, process="a", environment=ENVIRONMENT, model="moth", **changes):
        runs = []
        for attention, seconds in costs.items():
            for seed in range(4):
                condition = replace(CONDITION, attention=attention, model=model)
                runs.append(
                    make_run(
                        run_id=f"{process} {attention} {model} {seed}",
                        denoise_s=seconds * (1 + 0.01 * seed),
                        seed=seed,
                        repeat=seed,
                        process_id=process,
                        condition=condition,
                        environment=environment,
                        **changes,
                    )
                )
        return Analysis.of(runs)

    return make


def test_equal_conditions_of_two_processes_are_compared_by_their_means(folder):
    pair = [folder({"sdpa": 10, "sage": 8}), folder({"sage": 4, "sdpa": 5}, "b")]
    works = side_by_side(pair)
    assert [[(s.folder, s.row, s.way) for s in sides] for sides in works] == [
        [(0, 0, ""), (1, 1, "unpaired")],
        [(0, 1, ""), (1, 0, "unpaired")],
    ]
    for first, second in works:
        assert first.ratios == {}
        ratio = second.ratios["it_per_s"]
        assert ratio.value == pytest.approx(2, rel=1e-6)
        assert ratio.ci_low < 2 < ratio.ci_high
        assert second.note == ""


def test_what_was_measured_in_one_process_is_paired(folder):
    _, second = side_by_side([folder({"sdpa": 10}), folder({"sage": 5})])[0]
    assert second.way == "paired"
    assert second.ratios["it_per_s"].half_width == pytest.approx(0, abs=1e-9)
    assert second.note == "attention sdpa → sage"


def test_another_environment_is_never_paired_and_is_named(folder):
    other = replace(ENVIRONMENT, torch="2.12.0", gpu_uuid="GPU-2")
    _, second = side_by_side([folder({"sdpa": 10}), folder({"sdpa": 5}, environment=other)])[0]
    assert second.way == "unpaired"
    assert "another card, torch 2.11.0 → 2.12.0" in second.note
    assert "GPU-2" not in second.note


def test_conditions_without_a_counterpart_stand_alone(folder):
    pair = [folder({"sdpa": 10, "sage": 8}), folder({"split": 20}, "b")]
    assert [len(sides) for sides in side_by_side(pair)] == [1, 1, 1]
    other = [folder({"sdpa": 10}), folder({"sdpa": 10}, "b", model="bee")]
    assert [len(sides) for sides in side_by_side(other)] == [1, 1]


def test_three_folders_have_one_first(folder):
    (sides,) = side_by_side([folder({"sdpa": s}, p) for s, p in ((10, "a"), (5, "b"), (20, "c"))])
    assert [side.ratios and round(side.ratios["it_per_s"].value, 6) for side in sides] == [
        {},
        2,
        0.5,
    ]


def test_the_table_and_the_csv_say_the_same(folder):
    pair = [folder({"sdpa": 10}), folder({"sdpa": 5}, "b")]
    table = side_by_side_table(pair, ["before", "after"])
    frame = side_by_side_frame(pair, ["before", "after"])
    assert [row[1] for row in table.rows] == frame["folder"].tolist() == ["before", "after"]
    column = table.headings.index("× it/s")
    assert table.rows[1][column].startswith("2.00")
    assert frame["it_per_s_ratio"][1] == pytest.approx(2)
    assert [row[-2] for row in table.rows] == ["first", "unpaired"]
    for cells in table.rows:
        assert len(cells) == len(table.headings)


def test_the_interval_of_means_is_welchs():
    """Against scipy's own, and in 93 to 97 % of trials around the truth."""
    from scipy.stats import ttest_ind

    chance = np.random.default_rng(2)
    first, second = np.exp(chance.normal(0, 0.05, 6)), np.exp(chance.normal(0.3, 0.2, 4))
    found = unpaired_ratio(list(first), list(second))
    expected = ttest_ind(np.log(second), np.log(first), equal_var=False).confidence_interval(0.95)
    assert np.log([found.ci_low, found.ci_high]) == pytest.approx(list(expected))
    inside = 0
    for _ in range(1000):
        sides = np.exp(chance.normal(0, 0.05, 5)), np.exp(chance.normal(0.3, 0.1, 5))
        ratio = unpaired_ratio(*map(list, sides))
        inside += ratio.ci_low < np.exp(0.3) < ratio.ci_high
    assert 925 <= inside <= 975


def test_a_single_value_has_a_ratio_and_no_interval():
    found = unpaired_ratio([2.0], [3.0, 3.0])
    assert found.value == pytest.approx(1.5)
    assert np.isnan(found.ci_low)
    with pytest.raises(ValueError, match="positive"):
        unpaired_ratio([2.0], [0.0])
