"""A job carried out in a host that is no ComfyUI: a class of this file, and the pack's script."""

import time
from dataclasses import replace

import pytest
import torch

from wattbench.host import Script
from wattbench.measure.protocol.experiment import Plan
from wattbench.measure.protocol.journal import Journal, parse
from wattbench.measure.protocol.observation import UNKNOWN, open_instrument
from wattbench.measure.protocol.session import Session, open_journal
from wattbench.measure.recording.rhythms import Rhythms
from wattbench.records import Condition, PictureCheck, Prediction

from ...waiting import until

WATTS = 100


class Cancelled(BaseException):
    """What this host raises when its user cancels."""


class Studio:
    """A host program that works on the CPU and says what it was asked."""

    name, version = "Studio", "3.1"

    def __init__(self, folder):
        self.folder = folder
        self.calls = []
        self.is_cancelled = False
        self.things = {}

    def job_id(self):
        return "job 7"

    def node_id(self):
        return ""

    def device(self):
        return torch.device("cpu")

    def rest(self, seconds):
        self.stop_if_cancelled()
        self.calls.append(("rest", seconds))
        time.sleep(min(seconds, 0.3))

    def stop_if_cancelled(self):
        if self.is_cancelled:
            raise Cancelled

    def output_folder(self):
        return self.folder / "output"

    def user_folder(self):
        return self.folder / "user"

    def show(self, text):
        self.calls.append(("show", text))

    def free_memory(self):
        self.calls.append(("free_memory",))

    def kept(self, kind):
        return self.things.setdefault(kind, kind())

    @property
    def shown(self):
        return [call[1] for call in self.calls if call[0] == "show"]


class Matrices:
    """Multiplies random matrices in three phases, for real."""

    condition = Condition(**{**UNKNOWN, "model": "matrices"})

    def __init__(self, errors=()):
        self.errors = dict(errors)
        self.made = []

    def make(self, window, seed):
        if seed in self.errors:
            raise self.errors[seed]
        value = torch.rand(64, 64, generator=torch.Generator().manual_seed(seed))
        for name in ("text_encode", "denoise", "decode"):
            with window.phase(name) as span:
                value = value @ value / 64
                window.step(span)
        return value

    def look_at(self, made, attempt):
        self.made.append((attempt, made))
        return PictureCheck("", "a fault") if attempt.seed == 11 else None


@pytest.fixture(params=[Studio, Script])
def host(request, tmp_path):
    return request.param(tmp_path)


@pytest.fixture
def carry_out(hundred_watts):
    def carry_out(host, job, plan, *seconds, **changes):
        with open_instrument(host, host.device(), hundred_watts) as opened:
            return Session(host, job, *opened, **changes).carry_out(plan, *seconds)

    return carry_out


def test_any_host_gets_the_protocol(host, carry_out):
    job, journal = Matrices(), open_journal(host)
    runs = carry_out(host, job, Plan(1, 2, 10), 0.05, journal=journal)
    assert [(run.is_warmup, run.repeat, run.seed) for run in runs] == [
        (True, 0, 12),
        (False, 0, 10),
        (False, 1, 11),
    ]
    assert parse(journal.path.read_text("utf-8")) == runs
    for run in runs:
        assert [phase.name for phase in run.phases] == ["text_encode", "denoise", "decode"]
        assert len(run.phases[1].step_ends_s) == 1
        assert run.energy.energy_j == pytest.approx(WATTS * run.energy.duration_s, rel=0.05)
        assert (run.environment.host, run.environment.host_version) == (host.name, host.version)
        assert run.job_id == host.job_id()
        assert run.condition is job.condition
    assert [run.idle_power_w for run in runs] == [
        None,
        *[pytest.approx(WATTS, rel=0.05)] * 2,
    ]
    assert [run.picture is not None for run in runs] == [False, False, True]
    assert [attempt.seed for attempt, _ in job.made] == [12, 10, 11]


def test_without_a_journal_and_without_idle_power(host, carry_out, tmp_path):
    (run,) = carry_out(host, Matrices(), Plan(0, 1, 0))
    assert (run.error, run.idle_power_w) == ("", None)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_is_a_row_and_memory_is_freed_before_the_next_run(tmp_path, carry_out):
    host, error = Studio(tmp_path), torch.OutOfMemoryError("out of memory")
    runs = carry_out(host, Matrices({1: error}), Plan(0, 3, 0))
    assert [run.error for run in runs] == ["", "OutOfMemoryError: out of memory", ""]
    assert runs[1].energy is None
    progress = [call for call in host.calls if call[0] != "rest"]
    assert progress == [
        ("show", "repeat 1 done, 1 runs"),
        ("free_memory",),
        ("show", "repeat 2 done, 2 runs, 1 of them failed"),
        ("show", "repeat 3 done, 3 runs, 1 of them failed"),
        ("show", "3 runs, 1 of them failed"),
    ]


def test_several_jobs_are_one_condition_and_tell_their_prompts_apart(tmp_path, carry_out):
    """Each is made with each seed; one that fails keeps its prompt and what it was counted as."""
    jobs = [Matrices(), Matrices({1: ValueError("no")}), Matrices()]
    for job, name in zip(jobs, "abc", strict=True):
        job.condition = replace(job.condition, prompts=name)
    plan = Plan(1, 2, 0, job_count=3)
    runs = carry_out(Studio(tmp_path), jobs[0], plan, more_jobs=jobs[1:], prompts="set 1")
    assert [(run.is_warmup, run.prompt, run.seed) for run in runs] == [
        (True, "a", 2),
        *[(False, prompt, seed) for seed in (0, 1) for prompt in "abc"],
    ]
    assert {run.condition.prompts for run in runs} == {"set 1"}
    assert {run.condition for run in runs} == {runs[0].condition}
    assert [run.prompt for run in runs if run.error] == ["b"]
    assert [len(job.made) for job in jobs] == [3, 1, 2]


def test_a_cancellation_passes_through_and_what_was_measured_stays(tmp_path, carry_out):
    host, job, journal = Studio(tmp_path), Matrices(), Journal(tmp_path / "journal.jsonl")

    def cancelling(made, attempt, look_at=job.look_at):
        host.is_cancelled = attempt.repeat == 1
        return look_at(made, attempt)

    job.look_at = cancelling
    with pytest.raises(Cancelled):
        carry_out(host, job, Plan(0, 5, 0), journal=journal)
    assert [run.repeat for run in parse(journal.path.read_text("utf-8"))] == [0, 1]
    assert host.shown[-1] == "2 runs in the journal"


def test_a_cancelled_rest_begins_nothing(tmp_path, carry_out):
    host, job = Studio(tmp_path), Matrices()
    host.is_cancelled = True
    with pytest.raises(Cancelled):
        carry_out(host, job, Plan(1, 1, 0), 0.0, 5.0)
    assert job.made == []


def test_rest_comes_first_and_idle_power_around_the_repeats(tmp_path, carry_out):
    host = Studio(tmp_path)
    carry_out(host, Matrices(), Plan(1, 1, 0), 0.05, 0.01)
    assert host.calls == [
        ("rest", 0.01),
        ("show", "warm-up 1 done, 1 runs"),
        ("show", "measuring idle power for 0.05 s"),
        ("rest", 0.05),
        ("show", "repeat 1 done, 2 runs"),
        ("show", "measuring idle power for 0.05 s"),
        ("rest", 0.05),
        ("show", "2 runs"),
    ]


def test_a_forecast_stands_beside_what_was_measured(host, carry_out):
    prediction = Prediction(120.0, 100.0, 140.0, 0.9, "J", "a card")
    (run,) = carry_out(host, Matrices(), Plan(0, 1, 0), prediction=prediction)
    assert run.predicted_energy == prediction


def test_runs_go_to_the_users_folder_where_the_output_folder_is_unwritable(tmp_path, caplog):
    host = Studio(tmp_path)
    host.output_folder().mkdir()
    (host.output_folder() / "wattbench").write_text("a file, where a folder should be")
    assert open_journal(host).path == tmp_path / "user" / "wattbench" / "journal.jsonl"
    assert "cannot write" in caplog.text


def test_the_host_keeps_how_a_counter_ticks(host, tmp_path):
    path = tmp_path / "counter.csv"
    rows = [f"{i / 10},{i * 10}" for i in range(100)]
    path.write_text("\n".join(["t_s,energy_j", *rows]) + "\n", encoding="utf-8")

    def learnt():
        with open_instrument(host, host.device(), f"replay:{path}") as (instrument, _):
            with instrument.record() as (window, _), window.phase("denoise"):
                pass
            name = instrument.meter.name
        return host.kept(Rhythms).of(name)

    clock = until(learnt)  # a sampler that is held up sees no rhythm in so few ticks
    assert clock.period_s == pytest.approx(0.1, abs=0.05)
