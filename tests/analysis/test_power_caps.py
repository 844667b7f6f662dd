"""Which cap takes the fewest joules, from tables of runs."""

from dataclasses import replace

import pandas as pd
import pytest

from wattbench.analysis.power_caps import analyse, percent, verdicts
from wattbench.law.race_to_idle import points_of_runs
from wattbench.report import append_runs, read_runs, runs_frame
from wattbench.report.power_sweep import sweep_frame, sweep_text, write_sweeps

BLOCKS = ((350, 1.0), (250, 1.1), (150, 1.5), (350, 1.0))
"""The cap, and the seconds of denoising over those of the baseline."""


@pytest.fixture
def labelled_runs(make_run):
    """Runs whose power is their cap, with their blocks and caps.

    ``jitter`` varies their energy by repeat.
    """

    def make(blocks=BLOCKS, repeats=3, visits=1, jitter=0.001, name="", **changes):
        runs, labels = [], []
        for visit in range(1, visits + 1):
            for number, (cap_w, slower) in enumerate(blocks):
                for repeat in range(repeats):
                    run = make_run(
                        f"{name}{visit}.{number}.{repeat}",
                        10.0 * slower,
                        visit=visit,
                        repeat=repeat,
                    )
                    noise = 1 + jitter * (repeat - 1) * (-1) ** number
                    energy_j = cap_w * run.energy.duration_s * noise
                    runs.append(
                        replace(
                            run,
                            environment=replace(run.environment, power_limit_w=float(cap_w)),
                            **{"energy": replace(run.energy, energy_j=energy_j), **changes},
                        )
                    )
                    labels.append((visit * len(blocks) + number, float(cap_w)))
        return runs, labels

    return make


def labelled_frame(runs, labels):
    blocks, caps_w = zip(*labels, strict=True)
    return runs_frame(runs).assign(block=blocks, cap_w=caps_w)


@pytest.fixture
def sweep_runs(labelled_runs):
    """The table of such runs."""
    return lambda *args, **changes: labelled_frame(*labelled_runs(*args, **changes))


@pytest.fixture
def write_sweep(labelled_runs):
    """Write such runs with what is found in them, and return both."""

    def write(folder, **changes):
        runs, labels = labelled_runs(**changes)
        sweeps = analyse(labelled_frame(runs, labels), 350.0)
        return write_sweeps(runs, sweeps, folder), sweeps

    return write


def test_energy_time_and_their_ratios(sweep_runs):
    [sweep] = analyse(sweep_runs(), 350.0)
    assert [cap.cap_w for cap in sweep.caps] == [350, 250, 150]
    base, middle, low = sweep.caps
    # Two images a run, which takes 2 s beside denoising.
    assert base.energy.value == pytest.approx(350 * 12 / 2)
    assert (base.energy.n, middle.energy.n) == (6, 3)
    assert base.time.value == pytest.approx(12 / 2)
    assert (base.energy_ratio, base.time_ratio) == (None, None)
    assert middle.energy_ratio.value == pytest.approx(250 * 13 / (350 * 12), rel=1e-3)
    assert low.time_ratio.value == pytest.approx(17 / 12)
    assert low.power_w == pytest.approx(150)
    assert sweep.best is low
    assert low.energy_ratio.confidence == pytest.approx(0.975)
    assert low.energy_ratio.n == 3


def test_verdict_gives_saving_penalty_and_certainty(sweep_runs):
    [sweep] = analyse(sweep_runs(), 350.0)
    [verdict] = verdicts(sweep)
    assert verdict.startswith("150 W took the least: 1275 J per image. Against the baseline of 350")
    assert "energy -39.3 % [" in verdict
    assert "time +41.7 % [+41.7, +41.7]" in verdict
    assert verdict.endswith("does not reach zero: this is more than chance.")


def test_difference_within_the_noise_is_called_chance(sweep_runs):
    blocks = ((350, 1.0), (345, 1.01), (350, 1.0))
    [sweep] = analyse(sweep_runs(blocks, jitter=0.02), 350.0)
    assert next(verdicts(sweep)).endswith("reaches zero: this may be chance.")


def test_caps_that_cannot_be_told_from_the_best_are_named(sweep_runs):
    """250 W and 245 W differ by 0.5 % with a noise of 2 %; 150 W is far from both."""
    blocks = ((350, 1.0), (250, 1.1), (245, 1.12), (150, 4.0), (350, 1.0))
    [sweep] = analyse(sweep_runs(blocks, jitter=0.02), 350.0)
    assert (sweep.best.cap_w, sweep.rivals_w) == (245, (250.0,))
    assert "As little may have been taken by 250 W: these runs cannot tell." in verdicts(sweep)
    [sweep] = analyse(sweep_runs(blocks, jitter=1e-5), 350.0)
    assert (sweep.best.cap_w, sweep.rivals_w) == (245, ())


def test_baseline_that_is_best(sweep_runs):
    [sweep] = analyse(sweep_runs(((350, 1.0), (300, 2.0), (350, 1.0))), 350.0)
    assert list(verdicts(sweep)) == [
        "No cap took less energy per image than the baseline of 350 W."
    ]


def test_one_repeat_has_no_interval_and_says_so(sweep_runs):
    [sweep] = analyse(sweep_runs(BLOCKS[:3], repeats=1), 350.0)
    assert sweep.best.energy_ratio is None
    assert "One run each gives no interval" in next(verdicts(sweep))


def test_drift_between_the_first_and_the_last_baseline_is_said(sweep_runs):
    blocks = ((350, 1.0), (250, 1.1), (350, 1.2))
    [sweep] = analyse(sweep_runs(blocks), 350.0)
    assert sweep.time_drift.value == pytest.approx(14 / 12)
    drifts = [text for text in verdicts(sweep) if "drifted" in text]
    assert [text.split("'s ")[1].split(" per")[0] for text in drifts] == ["energy", "time"]
    assert "+16.7 % [+16.7, +16.7]" in drifts[1]


def test_cap_that_does_not_bind_is_named(sweep_runs):
    frame = sweep_runs().assign(mean_power_w=140.0)
    [sweep] = analyse(frame, 350.0)
    assert list(verdicts(sweep))[-1] == (
        "The mean power stayed more than 10 % below the cap at 350 W, 250 W."
    )


def test_visits_are_the_independent_values(sweep_runs):
    [sweep] = analyse(sweep_runs(visits=2), 350.0)
    assert [cap.energy.n for cap in sweep.caps] == [2, 2, 2]
    assert sweep.best.energy_ratio.n == 2


def test_warm_ups_and_failures_do_not_count(sweep_runs):
    frame = sweep_runs()
    frame.loc[0, "is_warmup"] = True
    frame.loc[3, "error"] = "out of memory"
    frame.loc[3, ["j_per_img", "img_per_s"]] = None
    [sweep] = analyse(frame, 350.0)
    base, middle, _ = sweep.caps
    assert (base.energy.n, base.failed) == (5, 0)
    assert (middle.energy.n, middle.failed) == (2, 1)
    # The failed repeat leaves no partner: two pairs remain.
    assert middle.energy_ratio.n == 2


def test_without_energy_the_reason_is_given(sweep_runs):
    [sweep] = analyse(sweep_runs(energy=None, energy_note="no meter here"), 350.0)
    assert sweep.best is None
    assert list(verdicts(sweep)) == ["No energy per image was measured: no meter here."]
    assert sweep.caps[1].time_ratio.value == pytest.approx(13 / 12)


def test_probed_denoising_is_compared_and_named(sweep_runs):
    frame = sweep_runs().assign(img_per_s=None, j_per_img=None)
    [sweep] = analyse(frame.astype({"img_per_s": float, "j_per_img": float}), 350.0)
    assert sweep.is_denoising_only
    # Two images a run; the phases of these runs draw 200 W under every cap.
    assert sweep.baseline.time.value == pytest.approx(10 / 2)
    assert sweep.baseline.energy.value == pytest.approx(200 * 10 / 2)
    assert sweep.caps[1].energy_ratio.value == pytest.approx(1.1)
    assert "those of denoising" in sweep_text(sweep)


def test_conditions_are_apart_and_one_without_a_baseline_is_left_out(sweep_runs):
    frame = sweep_runs()
    frame.loc[3:5, "steps"] = 20
    [sweep] = analyse(frame, 350.0)
    assert [cap.cap_w for cap in sweep.caps] == [350, 150]
    assert analyse(frame, 300.0) == []


def test_files(write_sweep, tmp_path):
    paths, sweeps = write_sweep(tmp_path)
    names = [path.name for path in paths]
    assert names == ["runs.csv", "summary.csv", "report.md", "powercap.csv", "powercap.svg"]
    assert all((tmp_path / name).stat().st_size > 0 for name in names)
    report = (tmp_path / "report.md").read_text("utf-8")
    assert "| 350 W (baseline) | 6 | 2100.0 ± 2." in report
    assert "| 150 W | 3 | 1275.0 ±" in report
    assert "150 W took the least" in sweep_text(sweeps[0])


def test_a_later_sweep_keeps_all_that_was_measured_before(write_sweep, tmp_path, make_run):
    append_runs([make_run("by run")], tmp_path)
    tables = []
    for name in ("a ", "bb ", "ccc "):
        write_sweep(tmp_path, name=name, jitter=len(name) / 1000)
        tables.append((tmp_path / "powercap.csv").read_bytes())
    assert len(set(tables)) == 3
    assert len(read_runs(tmp_path / "runs.csv")) == 1 + 3 * 12
    kept = [tmp_path / name for name in ("powercap_1.csv", "powercap_2.csv", "powercap.csv")]
    assert [path.read_bytes() for path in kept] == tables
    assert (tmp_path / "powercap_2.svg").exists()


def test_runs_of_a_sweep_tell_when_idling_pays(write_sweep, tmp_path):
    write_sweep(tmp_path)
    points = points_of_runs(pd.read_csv(tmp_path / "runs.csv"))
    assert [point.label for point in points] == ["150 W", "250 W", "350 W"]


def test_table_has_a_row_for_each_cap(sweep_runs):
    table = sweep_frame(analyse(sweep_runs(), 350.0))
    assert list(table["cap_w"]) == [350, 250, 150]
    assert table["energy_ratio"].isna().tolist() == [True, False, False]
    row = table.iloc[2]
    assert row["energy_ratio_low"] < row["energy_ratio"] < row["energy_ratio_high"]
    assert row["j_per_img_ci95"] > 0


def test_change_with_its_interval(sweep_runs):
    [sweep] = analyse(sweep_runs(jitter=0.0), 350.0)
    assert percent(sweep.caps[2].energy_ratio) == "-39.3 % [-39.3, -39.3]"
    assert percent(None) == "—"


def test_where_not_all_runs_are_paired_it_is_said(sweep_runs):
    """A repeat under one cap has failed: its place in the block has no partner."""
    runs = sweep_runs()
    assert not any("paired" in text for text in verdicts(analyse(runs, 350.0)[0]))
    under = runs.index[runs["cap_w"] == 250.0]
    runs.loc[under[-1], "error"] = "out of memory"
    said = [text for text in verdicts(analyse(runs, 350.0)[0]) if "paired" in text]
    assert said == ["Not all runs are paired with the baseline's: 2 of 3 at 250 W."]


def test_runs_that_do_not_count_are_in_no_sweep_and_that_is_said(labelled_runs):
    runs, labels = labelled_runs()
    stopped = labels.index((1 * len(BLOCKS) + 1, 250.0))
    runs[stopped] = replace(
        runs[stopped],
        energy=replace(runs[stopped].energy, energy_j=1e6),
        not_counted="the process stood still for 12.0 s",
    )
    [sweep] = analyse(labelled_frame(runs, labels), 350.0)
    [middle] = [cap for cap in sweep.caps if cap.cap_w == 250]
    assert (middle.energy.n, middle.failed) == (2, 0)
    assert middle.energy.value == pytest.approx(250 * 13 / 2, rel=0.01)
    assert (middle.paired, middle.pairable) == (2, 3)
    said = sweep_text(sweep)
    assert "Not counted: the process stood still for 12.0 s (1 of 12 runs)" in said
    assert "2 of 3 at 250 W" in said
