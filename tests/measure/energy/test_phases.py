"""Runs to pooled phases and step profiles, from their raw traces."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from wattbench.analysis.summary import summarise
from wattbench.measure.energy.attribution import share_ticks
from wattbench.measure.energy.phases import pooled_phases, step_profiles
from wattbench.measure.protocol.journal import dumps, parse
from wattbench.records import EnergyReading, Phase, PowerSample, Trace
from wattbench.report import append_runs, read_runs, runs_frame, write_all
from wattbench.stats import estimate

from ...made_runs import CONDITION
from ...simulated_board import POLL_S, STEP_COUNT, TRUTH, image


@pytest.fixture(scope="module")
def images():
    return [image(seed) for seed in range(10)]


@pytest.fixture
def make_image(make_run, images):
    """A function that makes the run of a simulated image: phases shorter than the tick."""

    def make(number, **changes):
        ticks, intervals = images[number]
        joules = share_ticks(ticks, intervals, POLL_S / 2)
        encode, *steps, decode = intervals

        def reading(energy_j, seconds):
            return EnergyReading(energy_j, seconds, "nvml:0", "gpu", "attributed", 20.0, len(ticks))

        denoise_s = steps[-1].end_s - steps[0].start_s
        phases = (
            Phase("text_encode", encode.start_s, 0.06, reading(joules[0], 0.06)),
            Phase(
                "denoise",
                steps[0].start_s,
                denoise_s,
                reading(sum(joules[1:-1]), denoise_s),
                tuple(step.end_s for step in steps),
            ),
            Phase("decode", decode.start_s, 0.08, reading(joules[-1], 0.08)),
        )
        run = make_run(
            f"run {number}",
            repeat=number,
            condition=replace(CONDITION, steps=STEP_COUNT),
            phases=phases,
            energy=reading(sum(joules), 1.04),
            trace=Trace(counter=tuple(ticks), tick_error_s=POLL_S / 2),
        )
        return replace(run, **changes)

    return make


def test_summary_has_the_truth_within_its_intervals(make_image):
    runs = [make_image(number) for number in range(10)]
    (row,) = summarise(runs_frame(runs)).to_dict("records")
    for name, true_j in TRUTH.items():
        mean, half = (row[f"{name}_pooled_j_{part}"] for part in ("mean", "ci95"))
        assert mean == pytest.approx(true_j, rel=0.05)
        assert abs(mean - true_j) < 2 * half
    assert row["j_per_step_mean"] == pytest.approx(13.5, rel=0.01)
    assert row["pooled_method"] == "attributed"
    whole = sum(row[f"{name}_pooled_j_mean"] for name in TRUTH)
    assert whole == pytest.approx(2 * row["j_per_img_mean"], rel=1e-3)


def test_phases_of_every_run_sum_to_its_energy(make_image):
    runs = [make_image(number) for number in range(10)]
    for run, phases in zip(runs, pooled_phases(runs), strict=True):
        assert sum(phases.energy_j.values()) == pytest.approx(run.energy.energy_j, rel=3e-3)
        assert phases.run_count == 10
    [alone] = pooled_phases(runs[:1])
    assert alone.energy_j == {phase.name: phase.energy.energy_j for phase in runs[0].phases}


def test_only_alike_runs_that_count_are_pooled(make_image):
    runs = [make_image(number) for number in range(4)]
    unmetered = tuple(replace(phase, energy=None) for phase in runs[0].phases)
    runs += [
        make_image(4, is_warmup=True),
        make_image(5, error="out of memory"),
        make_image(6, phases=unmetered, energy=None, energy_note="no meter"),
        make_image(7, environment=replace(runs[0].environment, power_limit_w=250.0)),
    ]
    counts = [phases and phases.run_count for phases in pooled_phases(runs)]
    assert counts == [4, 4, 4, 4, None, None, None, 1]


def test_a_run_without_ticks_keeps_its_own_phases(make_image):
    run = make_image(0, trace=Trace())
    (phases,) = pooled_phases([run])
    assert (phases.method, phases.run_count) == ("attributed", 1)
    assert phases.energy_j["denoise"] == run.phases[1].energy.energy_j


def test_a_simulation_stays_called_so(make_image):
    run = make_image(0)
    phases = [replace(p, energy=replace(p.energy, method="simulated")) for p in run.phases]
    simulated = replace(run, phases=tuple(phases))
    assert pooled_phases([simulated])[0].method == "simulated"


def test_phases_that_were_not_observed_are_left_out(make_image):
    """As of a probed workflow: its runs have denoising, and no energy per image."""
    runs = [make_image(number) for number in range(10)]
    whole = np.mean([found.energy_j["denoise"] for found in pooled_phases(runs)])
    probed = [replace(run, phases=run.phases[1:2], energy=None) for run in runs]
    found = pooled_phases(probed)
    assert all(list(one.energy_j) == ["denoise"] and one.run_count == 10 for one in found)
    assert np.mean([one.energy_j["denoise"] for one in found]) == pytest.approx(whole, rel=0.05)
    (profile,) = step_profiles(probed)
    assert np.array(profile.energy_j).shape == (10, STEP_COUNT)
    assert profile.meter == "nvml:0"
    (decoded,) = pooled_phases([replace(runs[0], phases=runs[0].phases[2:], energy=None)])
    assert list(decoded.energy_j) == ["decode"]
    assert step_profiles([replace(runs[0], phases=runs[0].phases[2:], energy=None)]) == []


def test_steps_of_a_constant_denoiser(make_image):
    runs = [make_image(number) for number in range(10)]
    (profile,) = step_profiles(runs)
    energies = np.array(profile.energy_j)
    assert energies.shape == (10, STEP_COUNT)
    assert energies.mean() == pytest.approx(13.5, rel=0.01)
    estimates = [estimate(column, "J") for column in energies.T]
    hits = [abs(found.value - 13.5) < found.half_width for found in estimates]
    assert np.mean(hits) >= 0.8
    assert max(found.half_width for found in estimates) < 4.0
    denoise = [phases.energy_j["denoise"] for phases in pooled_phases(runs)]
    assert energies.sum(axis=1) == pytest.approx(denoise)
    assert np.array(profile.duration_s) == pytest.approx(0.045)


def test_steps_by_power_samples(make_image):
    """Without a counter, each step is the integral of its power."""
    run = make_image(0)
    steps = [run.phases[1].start_s, *run.phases[1].step_ends_s]
    power = (PowerSample(0.0, 30.0), *(PowerSample(t, 100.0 + i) for i, t in enumerate(steps)))
    (profile,) = step_profiles([replace(run, trace=Trace(power=power))])
    assert profile.method == "integrated"
    assert profile.energy_j[0] == pytest.approx([0.045 * (100.0 + i) for i in range(STEP_COUNT)])


def test_steps_without_raw_samples_have_no_profile(make_image):
    assert step_profiles([make_image(0, trace=Trace())]) == []


def test_exports_one_by_one_agree_with_one_at_once(tmp_path, make_image):
    """A queue of prompts exports each run by itself; phases are pooled over all of them."""
    runs = [make_image(number) for number in range(6)]
    for run in runs:
        paths = append_runs([run], tmp_path / "queue")
    write_all(runs, tmp_path / "once")
    assert [path.name for path in paths] == ["runs.csv", "summary.csv", "report.md", "steps.csv"]
    for name in ("runs.csv", "summary.csv", "steps.csv", "report.md"):
        assert (tmp_path / "queue" / name).read_text() == (tmp_path / "once" / name).read_text()
    assert parse((tmp_path / "queue" / "runs.jsonl").read_text("utf-8")) == runs


def test_a_run_taken_out_of_the_table_stays_out(tmp_path, make_image):
    append_runs([make_image(0), make_image(1)], tmp_path)
    table = read_runs(tmp_path / "runs.csv")
    table[table["run_id"] == "run 0"].to_csv(tmp_path / "runs.csv", index=False)
    append_runs([make_image(2)], tmp_path)
    assert list(read_runs(tmp_path / "runs.csv")["run_id"]) == ["run 0", "run 2"]


def test_steps_table(tmp_path, make_image):
    write_all([make_image(number) for number in range(4)], tmp_path)
    steps = pd.read_csv(tmp_path / "steps.csv")
    assert list(steps["step"]) == list(range(1, STEP_COUNT + 1))
    assert set(steps["n"]) == {4}
    assert steps["time_s_mean"].to_numpy() == pytest.approx(0.045)
    assert (steps["energy_j_ci95"] > 0).all()
    assert (steps["energy_method"] == "attributed").all()
    write_all([make_image(0, phases=(), energy=None)], tmp_path)
    assert not (tmp_path / "steps.csv").exists()


def test_steps_over_visits_have_the_intervals_of_visit_means(tmp_path, make_image):
    runs = [make_image(number) for number in range(4)]
    runs = [replace(run, process_id=str(index // 2)) for index, run in enumerate(runs)]
    write_all(runs, tmp_path)
    first = pd.read_csv(tmp_path / "steps.csv").iloc[0]
    (profile,) = step_profiles(runs)
    joules = [steps[0] for steps in profile.energy_j]
    expected = estimate([(joules[0] + joules[1]) / 2, (joules[2] + joules[3]) / 2], "J")
    assert first["n"] == 4
    assert first["energy_j_ci95"] == pytest.approx(expected.half_width)


def test_report_shows_phases(tmp_path, make_image):
    write_all([make_image(number) for number in range(10)], tmp_path)
    report = (tmp_path / "report.md").read_text("utf-8")
    assert "## Energy of a run, by phase" in report
    _, _, phases = report.partition("## Energy of a run, by phase")
    for heading in ("Encode (J)", "Denoise (J)", "Decode (J)", "J/step"):
        assert f"| {heading} | " in phases


def test_a_journal_from_before_tick_errors_is_read(make_image):
    run = make_image(0)
    line = dumps(run).partition(',"crc32"')[0] + "}"
    line = line.replace(f',"tick_error_s":{POLL_S / 2}', "")
    (old,) = parse(line + "\n")
    assert old.trace.tick_error_s == Trace().tick_error_s
    assert pooled_phases([old])[0].energy_j["denoise"] == pytest.approx(270, rel=0.05)


def test_steps_are_of_their_sampling_also_behind_one_that_reported_none(tmp_path, make_image):
    run = make_image(0)
    silent, denoise, decode = run.phases
    write_all([replace(run, phases=(replace(silent, name="denoise"), denoise, decode))], tmp_path)
    assert set(pd.read_csv(tmp_path / "steps.csv")["sampling"]) == {2}
    half = STEP_COUNT // 2
    border_s = denoise.step_ends_s[half - 1]
    first_s = border_s - denoise.start_s
    first = replace(denoise, duration_s=first_s, step_ends_s=denoise.step_ends_s[:half])
    second = replace(
        denoise,
        start_s=border_s,
        duration_s=denoise.duration_s - first_s,
        step_ends_s=denoise.step_ends_s[half:],
    )
    write_all([replace(run, phases=(silent, first, second, decode))], tmp_path)
    steps = pd.read_csv(tmp_path / "steps.csv")
    assert list(steps["sampling"]) == [1] * half + [2] * half
    assert list(steps["step"]) == list(range(1, STEP_COUNT + 1))
