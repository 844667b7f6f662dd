"""Plans are read strictly: what is misspelt is named with its line."""

from pathlib import Path

import pytest

from wattbench.errors import UsageError
from wattbench.study.axes import AS_IS, AXES, axis_named, with_level
from wattbench.study.plan import Cell, read_plan

WORKFLOWS = Path(__file__).parents[2] / "workflows"
GOOD = """
name = "small"
seed = 7

[[workload]]
name = "sdxl"
workflow = "sdxl_synthetic"

[axes]
attention = ["comfyui", "sdpa", "split"]
weights = ["as_is", "nf4"]
steps = [10, 20]

[baseline]
attention = "sdpa"

[[exclude]]
attention = "split"
weights = "nf4"
reason = "too slow"

[run]
repeats = 2

[stop]
half_width = 0.05
"""


@pytest.fixture
def read(tmp_path):
    def run(text):
        path = tmp_path / "plan.toml"
        path.write_text(text, "utf-8")
        return read_plan(path, WORKFLOWS)

    return run


def test_cells_are_all_combinations_that_are_not_excluded(read):
    plan = read(GOOD)
    cells, left_out = plan.cells(), plan.excluded()
    assert len(cells) == 3 * 2 * 2 - 2
    assert {entry.reason for entry in left_out} == {"too slow"}
    assert len(left_out) == 2
    assert cells[0] == Cell("sdxl", (("attention", "sdpa"), ("weights", AS_IS), ("steps", 10)))
    assert cells[0].name == "sdxl: attention=sdpa, weights=as_is, steps=10"
    assert len({cell.name for cell in cells}) == len(cells)


def test_a_cell_is_compared_with_the_same_work(read):
    plan = read(GOOD)
    cell = Cell("sdxl", (("attention", "split"), ("weights", AS_IS), ("steps", 20)))
    assert dict(plan.baseline_of(cell).levels) == {
        "attention": "sdpa",
        "weights": AS_IS,
        "steps": 20,
    }


TWO_WAYS = """
[[workload]]
name = "sdxl"
workflow = "sdxl_synthetic"

[[workload]]
name = "by hand"
workflow = "sdxl_synthetic"
compare_with = "sdxl"

[axes]
launch = ["as_is", "--fast"]
steps = [10, 20]

[[exclude]]
workload = "by hand"
launch = "--fast"
reason = "one is enough"
"""


def test_another_way_to_the_same_pictures_has_the_firsts_baseline(read):
    plan = read(TWO_WAYS)
    assert [entry.cell.workload for entry in plan.excluded()] == ["by hand"] * 2
    by_hand = [cell for cell in plan.cells() if cell.workload == "by hand"]
    levels = (("launch", AS_IS), ("steps", 20))
    assert plan.baseline_of(by_hand[1]) == Cell("sdxl", levels)
    assert len(by_hand) == 2
    alone = plan.only(["by hand"])
    assert alone.baseline_of(by_hand[1]) == by_hand[1]
    assert plan.only(["sdxl", "by hand"]) == plan


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (('_with = "sdxl"', '_with = "sdlx"'), 9, "'sdlx' is no workload .* did you mean 'sdxl'"),
        (('_with = "sdxl"', '_with = "by hand"'), 9, "is no workload with a baseline of its own"),
        (('compare_with = "sdxl"', 'compare = "sdxl"'), 9, "did you mean 'compare_with'"),
        (('workload = "by hand"', 'workload = "hand"'), 15, "no workload 'hand'"),
        (('launch = "--fast"\nreason', 'lanch = "--fast"\nreason'), 17, "did you mean 'launch'"),
    ],
)
def test_what_is_wrong_with_two_ways_is_named(read, change, line, words):
    with pytest.raises(UsageError, match=words) as caught:
        read(TWO_WAYS.replace(*change))
    assert f"line {line}:" in str(caught.value)


def test_defaults_and_given_values(read):
    plan = read(GOOD)
    assert (plan.name, plan.seed) == ("small", 7)
    assert plan.protocol.repeats == 2
    assert plan.protocol.isolation == "process"
    assert (plan.stop.half_width, plan.stop.blocks_min, plan.stop.blocks_max) == (0.05, 5, 12)
    assert plan.workloads[0].workflow == WORKFLOWS / "sdxl_synthetic.json"


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("[axes]", "[axis]"), 9, "did you mean 'axes'"),
        (("steps =", "step ="), 12, "did you mean 'steps'"),
        (("repeats", "repeat"), 23, "did you mean 'repeats'"),
        (("half_width", "halfwidth"), 26, "did you mean 'half_width'"),
        (('attention = "sdpa"\n\n[[', 'atention = "sdpa"\n\n[['), 15, "did you mean 'attention'"),
        (("repeats = 2", 'repeats = "2"'), 23, "is no int"),
        (("repeats = 2", "repeats = 0"), 23, "at least 1"),
        (("repeats = 2", "repeats = true"), 23, "is no int"),
        (("[10, 20]", "[10, 0]"), 12, "out of range"),
        (("[10, 20]", "[10, 10]"), 12, "twice"),
        (("[10, 20]", "[]"), 12, "needs a list"),
        (("[10, 20]", '["ten"]'), 12, "takes numbers"),
        (("seed = 7", "seed = 7.5"), 3, "no whole number"),
        (('"sdxl_synthetic"', '"sdxl_sintetic"'), 7, "did you mean 'sdxl_synthetic'"),
        (("0.05", "nan"), 26, "out of range"),
        (("0.05", "0.05\nblocks_min = 13"), 27, "blocks_max"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(read, change, line, words):
    with pytest.raises(UsageError, match=words) as caught:
        read(GOOD.replace(*change))
    assert f"line {line}:" in str(caught.value)


def test_a_baseline_outside_of_its_axis_is_refused(read):
    with pytest.raises(UsageError, match="no level of it"):
        read(GOOD.replace('attention = "sdpa"\n\n[[', 'attention = "sage_2"\n\n[['))


@pytest.mark.parametrize("text", ["", "[axes]\nsteps = [1]", "workload = 3"])
def test_a_plan_without_workload_is_refused(read, text):
    with pytest.raises(UsageError, match="workload"):
        read(text)


def test_no_toml_is_said(read):
    with pytest.raises(UsageError, match="no TOML"):
        read("a = [")
    with pytest.raises(UsageError, match="no TOML"):
        read("a = 1\na = 2")


def test_setting_an_axis_changes_its_inputs_and_no_others():
    graph = {
        "1": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 32}},
        "2": {"class_type": "KSampler", "inputs": {"steps": 4, "cfg": 7.0, "model": ["3", 0]}},
    }
    assert with_level(graph, axis_named("size"), 128)["1"]["inputs"] == {
        "width": 128,
        "height": 128,
    }
    changed = with_level(graph, axis_named("cfg"), 1)
    assert changed["2"]["inputs"] == {"steps": 4, "cfg": 1.0, "model": ["3", 0]}
    assert graph["1"]["inputs"]["width"] == 64


def test_an_axis_without_a_place_is_refused():
    graph = {"1": {"class_type": "KSampler", "inputs": {"steps": ["2", 0]}}}
    with pytest.raises(ValueError, match="would change nothing"):
        with_level(graph, axis_named("steps"), 4)


def test_axes_have_names_of_their_own():
    assert len({axis.name for axis in AXES}) == len(AXES)
    with pytest.raises(ValueError, match="unknown axis"):
        axis_named("stepz")
