"""Speed counts sampling steps, whatever a sampler evaluates to make one."""

from dataclasses import replace

import pytest

from wattbench.report import runs_frame


@pytest.fixture
def row_of(make_run):
    """The row of a run of 30 steps that take 10 s, by sampler and function evaluations."""

    def row(sampler, nfe, phases=()):
        run = make_run("a")
        denoise = next(phase for phase in run.phases if phase.name == "denoise")
        others = [phase for phase in run.phases if phase.name != "denoise"]
        spans = phases or [replace(denoise, nfe=nfe)]
        condition = replace(run.condition, sampler=sampler)
        return runs_frame([replace(run, condition=condition, phases=(*others, *spans))]).iloc[0]

    return row


@pytest.mark.parametrize(
    ("sampler", "nfe"), [("euler", 30), ("heun", 59), ("dpm_2", 59), ("dpm_adaptive", 213)]
)
def test_a_step_of_two_evaluations_is_one_iteration(row_of, sampler, nfe):
    """As ComfyUI's own progress bar counts. What a step costs is in ``nfe`` beside it."""
    row = row_of(sampler, nfe)
    assert row["it_per_s"] == pytest.approx(30 / 10.0)
    assert row["nfe"] == nfe
    assert row["j_per_step"] == pytest.approx(200.0 * 10.0 / 30)


def test_two_samplings_of_one_image_share_its_steps(row_of, make_run):
    """Refined in a second pass: time and evaluations add up, the steps are the condition's."""
    denoise = next(phase for phase in make_run("a").phases if phase.name == "denoise")
    passes = [replace(denoise, nfe=39), replace(denoise, start_s=20.0, duration_s=5.0, nfe=19)]
    row = row_of("heun", None, passes)
    assert (row["nfe"], row["denoise_time_s"]) == (58, 15.0)
    assert row["it_per_s"] == pytest.approx(30 / 15.0)


def test_evaluations_that_were_not_counted_are_blank_and_the_speed_is_not(row_of):
    row = row_of("heun", None)
    assert row.isna()["nfe"]
    assert row["it_per_s"] == pytest.approx(3.0)
