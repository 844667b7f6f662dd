"""The runner of plans on a rig without servers: what is visited, what fails, what goes on."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.errors import UsageError
from wattbench.measure.protocol.journal import read
from wattbench.study.cells import ready
from wattbench.study.matrix import Matrix
from wattbench.study.matrix_results import write_results
from wattbench.study.measured import Prompt
from wattbench.study.plan import read_plan
from wattbench.study.visits import JOURNAL, read_visits

from .made_rig import MadeRig

PLAN = """
name = "small"
seed = 4
[[workload]]
name = "moth"
workflow = "moth.json"
[axes]
attention = ["as_is", "sdpa", "split"]
steps = [10, 20]
[run]
warmup = 1
repeats = 2
isolation = "ISOLATION"
[stop]
blocks_min = 4
blocks_max = 6
"""
DEAD = Prompt(error="ComfyUI died", is_dead=True)


@pytest.fixture
def planned(tmp_path):
    def read(text=PLAN, isolation="process"):
        (tmp_path / "moth.json").write_text("{}", "utf-8")
        (tmp_path / "broken.json").write_text("{}", "utf-8")
        path = tmp_path / "plan.toml"
        path.write_text(text.replace("ISOLATION", isolation), "utf-8")
        return read_plan(path, tmp_path)

    return read


@pytest.fixture
def carry_out(tmp_path, make_run, planned):
    """Make a matrix of a plan, begun or resumed in ``folder``; it is not run yet."""

    def make(text=PLAN, isolation="process", folder="out", refused=lambda cap_w: "", **rig):
        plan = planned(text, isolation)
        made = MadeRig(make_run, **rig)
        out = tmp_path / folder
        out.mkdir(exist_ok=True)
        found = ready(plan, made, refused)
        journal = read_visits(out / JOURNAL)
        if not journal.header:
            journal.begin({"study": "small 1", "environment": made.environment()})
        study = journal.header["study"]
        return Matrix(plan, found, made, journal, study, clock=made.clock, rest=lambda s: None)

    return make


def places(matrix):
    return [(visit.cell, visit.block) for visit in matrix.journal.made]


def test_each_cell_is_visited_once_a_block_on_a_server_of_its_own(carry_out):
    matrix = carry_out()
    matrix.run()
    assert len(matrix.ready.cells) == 6
    assert Counter(places(matrix)) == Counter(
        (cell.name, block) for cell in matrix.ready.cells for block in range(4)
    )
    assert len(matrix.rig.opened) == 6 * 4
    order = [cell for cell, _ in places(matrix)]
    assert order[6:12] == order[:6][::-1]
    runs = matrix.runs()
    assert len(runs) == 6 * 4 * 3
    assert {run.visit for run in runs} == {1, 2, 3, 4}
    assert Counter((run.is_warmup, run.repeat) for run in runs) == {
        (True, 0): 24,
        (False, 0): 24,
        (False, 1): 24,
    }
    assert {run.seed for run in runs if not run.is_warmup} == {6, 7}


def test_visits_of_a_block_share_a_server_where_the_plan_says_so(carry_out):
    matrix = carry_out(isolation="block")
    matrix.run()
    assert len(matrix.rig.opened) == 4
    assert len(matrix.journal.made) == 24


@pytest.mark.parametrize(("noise", "blocks"), [(0.0, 4), (0.2, 6)])
def test_blocks_go_on_until_the_ratios_are_known(carry_out, noise, blocks):
    matrix = carry_out(noise=noise)
    matrix.run()
    assert max(visit.block for visit in matrix.journal.made) + 1 == blocks


def test_ratios_are_of_blocks_and_each_work_has_its_own_baseline(carry_out):
    matrix = carry_out(factors={"sdpa": 0.5, "split": 2.0}, noise=0.001)
    matrix.run()
    assert "as_is" not in places(matrix)[0][0]  # Else the order of time would do as well.
    summary = Analysis.of(matrix.runs()).summary.set_index(["steps", "attention"])
    for steps in (10, 20):
        assert summary.loc[(steps, "as_is"), "comparison_note"] == "baseline"
        for attention, ratio in (("sdpa", 0.5), ("split", 2.0)):
            row = summary.loc[(steps, attention)]
            assert row["j_per_img_ratio"] == pytest.approx(ratio, rel=0.01)
            assert row["visits"] == 4
    verdicts = Analysis.of(matrix.runs()).verdicts
    assert [verdict.outcome for verdict in verdicts] == ["better", "better"]
    assert [verdict.ratio.value for verdict in verdicts] == pytest.approx([0.5, 0.5], rel=0.01)


@pytest.mark.parametrize(
    "rig",
    [{"is_whole": False}, {"is_watched": False}],
    ids=["probes that see denoising alone", "a workflow that measures itself"],
)
def test_a_cell_has_its_costs_and_ratios(carry_out, tmp_path, rig):
    """Of a user's own workflow the whole prompt counts, of which its probes see a part."""
    matrix = carry_out(factors={"sdpa": 0.5}, **rig)
    matrix.run()
    assert max(visit.block for visit in matrix.journal.made) + 1 == 4
    write_results(matrix, tmp_path / "out")
    cells = pd.read_csv(tmp_path / "out" / "cells.csv").set_index("cell")
    half, whole = (cells.loc[f"moth: attention={a}, steps=20"] for a in ("sdpa", "as_is"))
    assert (half["s_per_img"], whole["s_per_img"]) == pytest.approx((1.0, 2.0))
    assert (half["j_per_img"], whole["j_per_img"]) == pytest.approx((100.0, 200.0))
    for quantity in ("s_per_img", "j_per_img"):
        for end in ("", "_low", "_high"):
            assert half[f"{quantity}_ratio{end}"] == pytest.approx(0.5)
            assert pd.isna(whole[f"{quantity}_ratio{end}"])
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Cells, against their baselines" in page
    assert "0.500 (0.500 to 0.500)" in page


def test_one_block_is_a_ratio_without_an_interval(carry_out, tmp_path):
    text = PLAN.replace("blocks_min = 4\nblocks_max = 6", "blocks_min = 1\nblocks_max = 1")
    matrix = carry_out(text, factors={"sdpa": 0.5})
    matrix.run()
    write_results(matrix, tmp_path / "out")
    cells = pd.read_csv(tmp_path / "out" / "cells.csv").set_index("cell")
    row = cells.loc["moth: attention=sdpa, steps=20"]
    assert row["s_per_img_ratio"] == pytest.approx(0.5)
    assert pd.isna(row["s_per_img_ratio_low"])


def test_a_prompt_that_does_not_count_is_in_no_mean(carry_out):
    """Its server was stopped for a while, so that it took ten times as long."""
    matrix = carry_out()
    honest = matrix.rig.measure

    def measure(instrumented, name):
        prompt = honest(instrumented, name)
        if not name.endswith("_2"):
            return prompt
        (run,) = prompt.runs
        frozen = replace(run, not_counted="stopped for 9 s")
        return replace(prompt, time_s=10 * prompt.time_s, runs=(frozen,))

    matrix.rig.measure = measure
    matrix.run()
    assert {round(visit.s_per_img, 6) for visit in matrix.journal.made} == {1.0, 2.0}


def test_studies_of_the_same_plan_are_not_paired_with_each_other(carry_out):
    matrix = carry_out()
    matrix.run()
    runs = matrix.runs()
    both = [replace(run, study="small 2") if "sdpa" in run.cell else run for run in runs]
    summary = Analysis.of(both).summary
    assert not summary.loc[summary["attention"] == "sdpa", "j_per_img_ratio"].notna().any()


@pytest.mark.parametrize("isolation", ["process", "block"])
def test_a_server_that_dies_by_chance_costs_nothing(carry_out, isolation):
    deaths = iter([None, None, None, None, DEAD])
    matrix = carry_out(isolation=isolation, planned=lambda levels: next(deaths, None))
    matrix.run()
    assert [visit.error for visit in matrix.journal.made] == [""] * 24
    assert len(set(places(matrix))) == 24


@pytest.mark.parametrize("isolation", ["process", "block"])
@pytest.mark.parametrize(
    "prompt", [DEAD, Prompt(error="CUDA out of memory"), Prompt(error="no end within its deadline")]
)
def test_what_always_fails_costs_its_cell_and_no_other(carry_out, isolation, prompt, tmp_path):
    def fails(levels):
        return prompt if levels["attention"] == "split" and levels["steps"] == 20 else None

    matrix = carry_out(isolation=isolation, planned=fails)
    matrix.run()
    failed = [visit for visit in matrix.journal.made if visit.error]
    assert [(visit.block, visit.error) for visit in failed] == [(0, prompt.error)]
    assert len(set(places(matrix))) == 5 * 4 + 1
    write_results(matrix, tmp_path / "out")
    cells = pd.read_csv(tmp_path / "out" / "cells.csv").set_index("cell")
    row = cells.loc["moth: attention=split, steps=20"]
    assert (row["status"], row["visits"]) == ("failed", 1)
    assert prompt.error in row["reason"]
    assert set(cells["status"]) == {"measured", "failed"}
    report = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert prompt.error in report


def test_a_server_that_does_not_start_costs_its_cell(carry_out):
    text = PLAN.replace('attention = ["as_is", "sdpa", "split"]', 'launch = ["as_is", "--bad"]')
    matrix = carry_out(text, will_start=lambda launch: launch != ("--bad",))
    matrix.run()
    failed = [visit for visit in matrix.journal.made if visit.error]
    assert len(failed) == 2
    assert all("launch=--bad" in visit.cell and "-9" in visit.error for visit in failed)
    assert len(places(matrix)) == len(set(places(matrix))) == 2 * 4 + 2


def test_launch_options_may_choose_another_device(carry_out):
    text = PLAN.replace('attention = ["as_is", "sdpa", "split"]', 'launch = ["as_is", "--cpu"]')
    matrix = carry_out(text)
    rig, machine = matrix.rig, matrix.rig.machine
    rig.environment = lambda: {**machine, **({"gpu_name": ""} if rig.opened[-1][0] else {})}
    matrix.run()
    assert [visit.error for visit in matrix.journal.made] == [""] * 16


def test_a_matrix_goes_on_where_it_was_interrupted(carry_out):
    undisturbed = carry_out(folder="undisturbed")
    undisturbed.run()
    prompts = iter(range(10**6))

    def interrupted(levels):
        return KeyboardInterrupt() if next(prompts) % 11 == 10 else None

    for _ in range(100):
        matrix = carry_out(planned=interrupted)
        try:
            matrix.run()
            break
        except KeyboardInterrupt:
            continue
    assert places(matrix) == places(undisturbed)
    table, whole = (Analysis.of(m.runs()).frame for m in (matrix, undisturbed))
    same = ["study", "cell", "visit", "repeat", "seed", "is_warmup", "condition_id"]
    pd.testing.assert_frame_equal(table[same], whole[same])


def test_a_run_ends_after_its_last_block_and_another_goes_on(carry_out):
    whole = carry_out(folder="whole")
    assert whole.run() is True
    blocks = max(visit.block for visit in whole.journal.made) + 1
    for last in range(1, blocks + 1):
        part = carry_out()
        part.last_block = last
        is_over = part.run()
        assert max(visit.block for visit in part.journal.made) + 1 == last
        assert is_over is (last == blocks)
    assert places(part) == places(whole)


def test_what_ran_beside_stands_in_every_run_and_raw_runs_are_written(carry_out, tmp_path):
    matrix = carry_out()
    matrix.last_block, matrix.remarks = 1, ("measured together with another",)
    matrix.run()
    assert all("measured together with another" in run.board.flags for run in matrix.runs())
    write_results(matrix, tmp_path / "out")
    raw = read((tmp_path / "out" / "runs.jsonl").read_bytes())
    assert (list(raw.runs), raw.left_out) == (matrix.runs(), ())


def test_a_journal_that_was_cut_anywhere_loses_the_visit_that_was_cut(carry_out, tmp_path):
    matrix = carry_out()
    matrix.run()
    path = tmp_path / "out" / JOURNAL
    data = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(data) if byte == 10]
    for cut in [*ends[1:4], ends[2] - 1, ends[2] + 1, ends[5] + 400, len(data) - 3]:
        for tail in (b"", b"\x00" * 40, b"\x00" * 40 + b"\n"):
            path.write_bytes(data[:cut] + tail)
            again = carry_out()
            whole = max(n for n, end in enumerate(ends) if end <= cut)
            assert len(again.journal.made) == whole
            again.run()
            assert places(again) == places(matrix)
            assert json.loads(path.read_bytes().splitlines()[-1])["block"] == 3


def test_a_damaged_visit_is_told_and_made_again(carry_out, tmp_path, caplog):
    matrix = carry_out()
    matrix.run()
    path = tmp_path / "out" / JOURNAL
    lines = path.read_bytes().splitlines()
    digit = re.search(rb'"duration_s":[0-9]', lines[3]).end() - 1
    another = b"%d" % ((int(lines[3][digit : digit + 1]) + 1) % 10)
    in_a_run = re.search(rb'"run_id":"', lines[3]).end()
    for damaged in (
        b'{"cell": 1}',
        b"[" * 100_000,
        b"\xff\xfe",
        lines[3][:digit] + another + lines[3][digit + 1 :],
        lines[3][:in_a_run] + b"x" + lines[3][in_a_run:],
    ):
        path.write_bytes(b"\n".join([*lines[:3], damaged, *lines[4:]]) + b"\n")
        caplog.clear()
        again = carry_out()
        assert len(again.journal.made) == len(lines) - 2
        assert "line 4 is left out" in caplog.text
        again.run()
        assert sorted(places(again)) == sorted(places(matrix))


def test_what_is_no_journal_of_a_matrix_is_refused(tmp_path):
    path = tmp_path / JOURNAL
    path.write_text('{"a": 1}\n', "utf-8")
    with pytest.raises(UsageError, match="no journal of `wattbench matrix`"):
        read_visits(path)


def test_another_machine_does_not_go_on(carry_out):
    carry_out()
    matrix = carry_out(machine={"torch": "2.12.0", "power_limit_w": None})
    with pytest.raises(UsageError, match=r"torch was '2\.11\.0' and is '2\.12\.0'"):
        matrix.run()
    assert matrix.journal.made == []


def test_cells_that_cannot_run_here_are_told_with_the_reason(carry_out):
    text = PLAN.replace('"split"]', '"sage_3"]\npower_cap_w = ["as_is", 150]\ncfg = ["as_is"]')
    text += '[[workload]]\nname = "other"\nworkflow = "broken.json"\n'
    text += '[[exclude]]\nattention = "sdpa"\nsteps = 20\nreason = "not wanted"\n'
    matrix = carry_out(text, refused=lambda cap_w: f"no rights for {cap_w} W")
    reasons = {one.cell.name: one.reason for one in matrix.ready.skipped}
    assert len(matrix.ready.cells) + len(reasons) == 2 * 3 * 2 * 2
    assert [cell.name for cell in matrix.ready.cells] == [
        "moth: attention=as_is, power_cap_w=as_is, cfg=as_is, steps=10",
        "moth: attention=as_is, power_cap_w=as_is, cfg=as_is, steps=20",
        "moth: attention=sdpa, power_cap_w=as_is, cfg=as_is, steps=10",
    ]
    for words in ("needs a Blackwell card", "no rights for 150 W", "no such node", "not wanted"):
        assert any(words in reason for reason in reasons.values())


def test_a_level_that_no_machine_has_is_refused(carry_out):
    with pytest.raises(UsageError, match="did you mean 'split'"):
        carry_out(PLAN.replace('"split"', '"splitt"'))


def test_caps_are_set_for_each_visit_and_must_hold(carry_out):
    text = PLAN.replace('attention = ["as_is", "sdpa", "split"]', "power_cap_w = [350, 200]")
    matrix = carry_out(text)
    asked = []
    matrix.set_cap = asked.append
    matrix.run()
    assert Counter(asked)[350] == 2 * 4
    failed = [visit.error for visit in matrix.journal.made if visit.error]
    assert len(failed) == 2  # made_runs' board has a limit of 350 W.
    assert "a limit of 350 W, not under 200 W" in failed[0]


def test_shared_servers_and_power_caps_do_not_go_together(planned):
    text = PLAN.replace("steps = [10, 20]", "power_cap_w = [100, 200]")
    with pytest.raises(UsageError, match="isolation = 'process'"):
        planned(text, "block")


def test_events_tell_how_far_it_is(carry_out):
    matrix = carry_out()
    events = []
    matrix.tell = events.append
    matrix.run()
    kinds = Counter(event["event"] for event in events)
    assert kinds == {"visit": 24, "image": 72, "visited": 24, "block": 4}
    first, *_, last = [event for event in events if event["event"] == "visit"]
    assert (first["visit"], first["of"], first["left_s"]) == (1, 24, None)
    assert (last["visit"], last["block"]) == (24, 4)
    assert 0 < last["left_s"] < 100
    json.dumps(events)


def test_pictures_are_compared_with_the_baselines_of_the_same_seed(carry_out, tmp_path):
    import numpy as np
    from PIL import Image

    matrix = carry_out()
    measure, folder = matrix.rig.measure, tmp_path / "out" / "pictures"
    folder.mkdir()

    def with_picture(instrumented, name):
        prompt = measure(instrumented, name)
        (run,) = prompt.runs
        seed = run.seed + 1000 * (run.condition.attention == "split")
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        path = Path(folder, f"{name}.png")
        Image.fromarray(pixels).save(path)
        return replace(prompt, pictures=(path,))

    matrix.rig.measure = with_picture
    matrix.run()
    write_results(matrix, tmp_path / "out")
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    counted = runs[~runs["is_warmup"]]
    by = counted.groupby("attention")
    assert by["picture_ssim"].min()["sdpa"] == 1
    assert by["picture_psnr_db"].max()["split"] < 15
    assert counted.loc[counted["attention"] == "split", "picture_fault"].notna().all()
    assert counted.loc[counted["attention"] == "as_is", "picture_ssim"].isna().all()
