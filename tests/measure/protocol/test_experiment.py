"""Warm-ups, seeds, failures and cancelling."""

import itertools
from dataclasses import replace

import pytest

from wattbench.measure.protocol.experiment import Plan, repeat, warm_up
from wattbench.measure.protocol.journal import Journal, parse
from wattbench.records import BoardState


class Trial:
    """Runs that take ten seconds each on a clock of their own."""

    def __init__(self, make_run, temperatures=(), errors=None):
        self.make_run = make_run
        self.temperatures = itertools.chain(temperatures, itertools.repeat(None))
        self.errors = errors or {}
        self.kept = []
        self.now_s = 0.0

    def clock(self):
        return self.now_s

    def measure(self, attempt):
        self.now_s += 10.0
        if attempt.repeat in self.errors:
            raise self.errors[attempt.repeat]
        run = self.make_run(f"{attempt.seed}", repeat=attempt.repeat, is_warmup=attempt.is_warmup)
        return replace(run, board=BoardState(temperature_max_c=next(self.temperatures)))

    def failed(self, attempt, error):
        return self.make_run("failed", repeat=attempt.repeat, error=error)

    def keep(self, run):
        self.kept.append(run)


def test_order_and_seeds(make_run):
    trial = Trial(make_run)
    plan = Plan(2, 3, 100)
    warmed, runs = warm_up(plan, trial), repeat(plan, trial)
    assert [(r.is_warmup, r.repeat, r.run_id) for r in (*warmed.runs, *runs)] == [
        (True, 0, "103"),
        (True, 1, "104"),
        (False, 0, "100"),
        (False, 1, "101"),
        (False, 2, "102"),
    ]
    assert trial.kept == [*warmed.runs, *runs]
    assert warmed.remark == ""


def test_seeds_stay_in_range():
    assert [a.seed for a in Plan(0, 2, 2**64 - 1).repeats()] == [2**64 - 1, 0]


def test_every_job_is_made_with_every_seed():
    plan = Plan(1, 2, 10, job_count=3)
    assert [(a.repeat, a.seed, a.job) for a in plan.repeats()] == [
        (0, 10, 0),
        (1, 10, 1),
        (2, 10, 2),
        (3, 11, 0),
        (4, 11, 1),
        (5, 11, 2),
    ]
    warmups = [(a.seed, a.job) for a in itertools.islice(plan.warmups(), 4)]
    assert warmups == [(12, 0), (13, 1), (14, 2), (15, 0)]


def test_warm_ups_go_on_until_the_board_is_steady(make_run):
    """It heats by 2 °C every ten seconds and then stands still for a minute."""
    trial = Trial(make_run, temperatures=[50, 52, 54, 56] + [56] * 20)
    warmed = warm_up(Plan(2, 1, 0, max_warmup_s=300), trial, trial.clock)
    assert len(warmed.runs) == 10
    assert warmed.remark == ""


def test_warm_ups_end_at_their_bound_and_say_what_still_moves(make_run):
    trial = Trial(make_run, temperatures=range(50, 90))
    warmed = warm_up(Plan(2, 1, 0, max_warmup_s=60), trial, trial.clock)
    assert len(warmed.runs) == 6
    assert warmed.remark == "not steady after the warm-ups: temperature moves by +6.0 °C a minute"


def test_without_a_temperature_the_declared_warm_ups_are_made(make_run):
    trial = Trial(make_run)
    warmed = warm_up(Plan(2, 1, 0, max_warmup_s=60), trial, trial.clock)
    assert len(warmed.runs) == 2
    assert "no temperature" in warmed.remark


def test_no_warm_ups_means_none(make_run):
    trial = Trial(make_run, temperatures=range(50, 90))
    warmed = warm_up(Plan(0, 1, 0, max_warmup_s=60), trial, trial.clock)
    assert (warmed.runs, warmed.remark) == ((), "")


def test_no_more_warm_ups_after_one_that_failed(make_run):
    error = RuntimeError("CUDA out of memory")
    trial = Trial(make_run, range(50, 90), errors=dict.fromkeys(range(1, 99), error))
    assert len(warm_up(Plan(2, 1, 0, max_warmup_s=60), trial, trial.clock).runs) == 2


def test_a_failing_repeat_is_a_row_and_not_the_end(make_run):
    trial = Trial(make_run, errors={1: RuntimeError("CUDA out of memory")})
    runs = repeat(Plan(0, 3, 0), trial)
    assert runs == trial.kept
    assert [run.error for run in runs] == ["", "RuntimeError: CUDA out of memory", ""]


class Interrupted(BaseException):
    """As ComfyUI's."""


def test_cancelling_keeps_what_was_measured(make_run):
    trial = Trial(make_run, errors={2: Interrupted()})
    with pytest.raises(Interrupted):
        repeat(Plan(0, 5, 0), trial)
    assert [run.run_id for run in trial.kept] == ["0", "1"]


@pytest.mark.parametrize(
    "error",
    [
        *(KeyError("sigma"), TypeError("a bug"), AssertionError(), AttributeError("a bug")),
        *(StopIteration(), RecursionError(), ImportError("xformers"), MemoryError(), OSError(28)),
        type("TheirOwnError", (Exception,), {})("of a custom node"),
        type("SpeechlessError", (Exception,), {"__str__": lambda self: 1 / 0})(),
    ],
)
def test_whatever_a_sampler_raises_is_a_row(make_run, error):
    trial = Trial(make_run, errors={1: error})
    runs = repeat(Plan(0, 3, 0), trial)
    assert [run.error.split(":")[0] for run in runs] == ["", type(error).__name__, ""]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, Interrupted])
def test_interruptions_pass_through(make_run, interruption):
    with pytest.raises(interruption):
        repeat(Plan(0, 3, 0), Trial(make_run, errors={1: interruption()}))


def test_a_run_that_cannot_be_written_down_is_a_row(make_run, tmp_path):
    """JSON has no NaN, so the journal refuses it."""
    journal = Journal(tmp_path / "journal.jsonl")

    class Written(Trial):
        def measure(self, attempt):
            run = super().measure(attempt)
            return replace(run, wall_time_s=float("nan")) if attempt.repeat == 1 else run

        def keep(self, run):
            journal.append(run)

    runs = repeat(Plan(0, 3, 0), Written(make_run))
    assert [bool(run.error) for run in runs] == [False, True, False]
    assert "cannot be written down" in runs[1].error
    kept = parse(journal.path.read_text("utf-8"))
    assert [run.error for run in kept] == [run.error for run in runs]
