"""Warm-ups, seeds, failures and cancelling."""

import pytest

from wattbench.measure.experiment import Plan, run_experiment


def test_order_and_seeds():
    attempts = list(Plan(2, 3, 100).attempts())
    assert [(a.is_warmup, a.repeat, a.seed) for a in attempts] == [
        (True, 0, 103),
        (True, 1, 104),
        (False, 0, 100),
        (False, 1, 101),
        (False, 2, 102),
    ]


def test_seeds_stay_in_range():
    assert [a.seed for a in Plan(0, 2, 2**64 - 1).attempts()] == [2**64 - 1, 0]


def test_a_failing_repeat_is_a_row_and_not_the_end(make_run):
    def measure(attempt):
        if attempt.repeat == 1:
            raise RuntimeError("CUDA out of memory")
        return make_run(str(attempt.repeat))

    kept = []
    runs = run_experiment(
        Plan(0, 3, 0), measure, lambda attempt, error: make_run("failed", error=error), kept.append
    )
    assert runs == kept
    assert [run.error for run in runs] == ["", "RuntimeError: CUDA out of memory", ""]


def test_cancelling_keeps_what_was_measured(make_run):
    class Interrupted(BaseException):
        """As ComfyUI's."""

    def measure(attempt):
        if attempt.repeat == 2:
            raise Interrupted
        return make_run(str(attempt.repeat))

    kept = []
    with pytest.raises(Interrupted):
        run_experiment(Plan(0, 5, 0), measure, lambda *_: pytest.fail("no failure"), kept.append)
    assert [run.run_id for run in kept] == ["0", "1"]


def test_a_programming_error_is_not_a_row():
    def measure(attempt):
        raise AttributeError("a bug")

    with pytest.raises(AttributeError):
        run_experiment(Plan(0, 1, 0), measure, lambda *_: pytest.fail("no row"), lambda run: None)
