"""The protocol: warm-up runs that do not count, then repeats, each with a seed of its own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ...errors import named
from ...records import Run
from .steady import Warmth, what_moves

SEED_RANGE = 2**64

RUN_FAILURES = (Exception,)
"""What a run can raise and the experiment still go on: a sampler is anybody's code.

An interruption of the user is none: Ctrl-C, and ComfyUI's, are only ``BaseException``.
"""


@dataclass(frozen=True)
class Attempt:
    """One run to be made; ``repeat`` counts from 0, warm-ups and repeats apart.

    ``job`` is the place of its job among those that the plan is for.
    """

    repeat: int
    seed: int
    is_warmup: bool
    job: int = 0


@dataclass(frozen=True)
class Plan:
    """How often to run.

    ``warmup_count`` warm-ups are made in any case. More follow until the board is steady, for
    ``max_warmup_s`` seconds at most, warm-ups altogether. None is chosen by what it measured of
    time or energy. Of several jobs (``job_count``) each is repeated with every seed, one after the
    other; warm-ups go round them.
    """

    warmup_count: int
    repeat_count: int
    first_seed: int
    max_warmup_s: float = 0.0
    job_count: int = 1

    def warmups(self) -> Iterator[Attempt]:
        """Without end; their seeds come after those of the repeats."""
        for index in itertools.count():
            seed, job = self._seed(self.repeat_count + index), index % self.job_count
            yield Attempt(index, seed, is_warmup=True, job=job)

    def repeats(self) -> Iterator[Attempt]:
        """The ``i``-th of each job has seed ``first_seed + i``."""
        for index in range(self.repeat_count * self.job_count):
            turn, job = divmod(index, self.job_count)
            yield Attempt(index, self._seed(turn), is_warmup=False, job=job)

    def _seed(self, offset: int) -> int:
        return (self.first_seed + offset) % SEED_RANGE


class Trial(Protocol):
    """What an experiment repeats."""

    def measure(self, attempt: Attempt) -> Run:
        """Make the run; may raise one of :data:`RUN_FAILURES`."""
        ...

    def failed(self, attempt: Attempt, error: str) -> Run:
        """A run that failed, with its reason."""
        ...

    def keep(self, run: Run) -> None:
        """Called with each run as soon as it has ended."""
        ...


@dataclass(frozen=True)
class WarmUp:
    """The runs of a warm-up; ``remark`` says why the board may not be steady after it."""

    runs: tuple[Run, ...] = ()
    remark: str = ""


def warm_up(plan: Plan, trial: Trial, clock: Callable[[], float] = time.perf_counter) -> WarmUp:
    """Make the warm-ups of ``plan``. A cancellation passes through."""
    runs: list[Run] = []
    history: list[Warmth] = []
    began_s, remark = clock(), ""
    for attempt in plan.warmups() if plan.warmup_count else ():
        if attempt.repeat >= plan.warmup_count:
            wanted, remark = _goes_on(plan, history, clock() - began_s)
            if not wanted or runs[-1].error:
                break
        run = _attempt(trial, attempt)
        runs.append(run)
        board = run.board
        history.append(Warmth(clock(), board.temperature_max_c, board.sm_clock_mean_hz))
    return WarmUp(tuple(runs), remark)


def repeat(plan: Plan, trial: Trial) -> list[Run]:
    """Make the repeats of ``plan``.

    A run that fails becomes a run with its reason, and the next one begins. A cancellation is no
    failure: it passes through, and what was kept stays kept.
    """
    return [_attempt(trial, attempt) for attempt in plan.repeats()]


def _goes_on(plan: Plan, history: list[Warmth], elapsed_s: float) -> tuple[bool, str]:
    """Whether another warm-up is wanted, and what to remark if it is not."""
    if plan.max_warmup_s == 0:
        return False, ""
    try:
        moving = what_moves(history)
    except ValueError as error:
        return False, f"steadiness after the warm-ups is unknown: {error}"
    if not moving:
        return False, ""
    return elapsed_s < plan.max_warmup_s, f"not steady after the warm-ups: {moving}"


def _attempt(trial: Trial, attempt: Attempt) -> Run:
    try:
        run = trial.measure(attempt)
    except RUN_FAILURES as error:
        run = trial.failed(attempt, named(error))
    try:
        trial.keep(run)
    except ValueError as error:
        run = trial.failed(attempt, f"what it measured cannot be written down: {error}")
        trial.keep(run)
    return run
