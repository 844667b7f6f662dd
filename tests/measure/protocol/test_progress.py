"""One count over all runs, the joules so far, and the time that is left."""

import pytest

from wattbench.measure.protocol.experiment import Plan
from wattbench.measure.protocol.progress import Progress


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def progress(clock):
    return Progress(Plan(2, 10, 0), lambda: clock[0])


def carry_out(progress, clock, run, seconds):
    progress.begin()
    clock[0] += seconds
    progress.end(run)


def test_nothing_is_known_before_the_first_run(progress):
    assert (progress.text, progress.share) == ("run 1/12", 0.0)
    progress.step(15, 30)
    assert progress.text == "run 1/12 \u00b7 step 15/30"
    assert progress.share == pytest.approx(0.5 / 12)


def test_it_does_not_start_over_with_a_run(progress, clock, make_run):
    shares = []
    for _ in range(2):
        for step in range(1, 4):
            progress.step(step, 3)
            shares.append(progress.share)
        carry_out(progress, clock, make_run(is_warmup=True), 10)
        shares.append(progress.share)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(2 / 12)
    clock[0] += 4
    progress.step(14, 30)
    # 200 W for 12 s each; ten runs of 10 s are left, less the 4 s of this one.
    assert progress.text == "run 3/12 \u00b7 step 14/30 \u00b7 4800 J so far \u00b7 1:36 left"


def test_rest_before_a_run_is_none_of_its_time(progress, clock, make_run):
    carry_out(progress, clock, make_run(is_warmup=True), 10)
    clock[0] += 500
    progress.begin()
    assert progress.text.endswith("1:50 left")


def test_more_warmups_are_more_runs_and_fewer_are_fewer(progress, clock, make_run):
    for _ in range(3):
        carry_out(progress, clock, make_run(is_warmup=True), 1)
    assert progress.total == 13
    carry_out(progress, clock, make_run(), 1)
    assert progress.total == 13
    for _ in range(9):
        carry_out(progress, clock, make_run(energy=None), 1)
    assert progress.share == 1.0
    assert progress.text.startswith("run 13/13")


def test_each_job_of_several_is_repeated():
    assert Progress(Plan(2, 10, 0, job_count=3)).total == 32


def test_hours_are_written_out(progress, clock, make_run):
    carry_out(progress, clock, make_run(), 3600)
    assert progress.text.endswith("9:00:00 left")
