"""A session: one job, tried again and again by the protocol, and every run of it kept.

Warm-ups that do not count, idle power, repeats, idle power again. It asks a :class:`...host.Host`
for all that depends on the program it runs in, and a :class:`Job` for the work.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ...host import Host
from ...processes.visit import visit
from ...records import Condition, Environment, PictureCheck, Prediction, Run
from ..recording.instrument import Instrument
from ..recording.runs import failed_run, measured_run, new_run
from ..recording.window import Window
from .experiment import Attempt, Plan, repeat, warm_up
from .journal import Journal, with_idle_after
from .progress import Progress

log = logging.getLogger(__name__)


class Job(Protocol):
    """Work that can be done again with another seed: it makes one image, or whatever it makes."""

    @property
    def condition(self) -> Condition:
        """What the work is: equal for all of its repeats."""
        ...

    def make(self, window: Window, seed: int) -> Any:
        """Do the work once, inside of ``window``, and mark its phases there.

        May raise one of :data:`.experiment.RUN_FAILURES`: the run becomes a row with its reason.
        """
        ...

    def look_at(self, made: Any, attempt: Attempt) -> PictureCheck | None:
        """Take what :meth:`make` returned, outside of what is measured, and say what is broken."""
        ...


@dataclass
class Session:
    """What the runs of one job share; :meth:`carry_out` makes them.

    Args:
        host: the program that this runs in.
        job: the work.
        instrument: measures on the device that the job runs on; it has been entered.
        environment: what the instrument measures in.
        journal: gets every run as soon as it has ended; ``None`` keeps none on disk.
        prediction: the energy that was forecast for such a run.
        more_jobs: others of the same condition but for their prompts, which a plan for several
            jobs makes in turn.
        prompts: the name of the set of all prompts, of which each job has one.
        progress: is told when runs begin and end.
    """

    host: Host
    job: Job
    instrument: Instrument
    environment: Environment
    journal: Journal | None = None
    prediction: Prediction | None = None
    more_jobs: Sequence[Job] = ()
    prompts: str = ""
    idle_power_before_w: float | None = None
    progress: Progress | None = None
    remark: str = ""
    kept_count: int = 0
    failed_count: int = 0
    counted: dict[int, Condition] = field(default_factory=dict)

    def carry_out(self, plan: Plan, idle_s: float = 0.0, rest_s: float = 0.0) -> list[Run]:
        """Rest, warm-ups, idle power, repeats, and idle power again; the runs in that order.

        A run that fails is a run with its reason. A cancellation passes through; what was measured
        before it is in the journal.

        Args:
            plan: how often to run.
            idle_s: how long idle power is measured before the repeats and after them; 0 for not at
                all, and then net energy is blank.
            rest_s: how long the board rests before the first warm-up.

        Raises:
            OSError: the journal cannot be written.
        """
        self.host.rest(rest_s)
        try:
            warmed = warm_up(plan, self)
            self.remark = warmed.remark
            self.idle_power_before_w = self._idle_power(idle_s)
            runs = repeat(plan, self)
            idle_power_after_w = self._idle_power(idle_s)
            if idle_power_after_w is not None:
                if self.journal is not None:
                    self.journal.append_idle_after(runs, idle_power_after_w)
                runs = [with_idle_after(run, idle_power_after_w) for run in runs]
            return [*warmed.runs, *runs]
        finally:
            # After a cancellation too: then this is all that the user sees of it.
            self.host.show(self._kept)

    def measure(self, attempt: Attempt) -> Run:
        """Make one run; see :class:`.experiment.Trial`."""
        self.host.stop_if_cancelled()
        job = self._job_of(attempt)
        if self.progress is not None:
            self.progress.begin()
        with self.instrument.record() as (window, recording):
            made = job.make(window, attempt.seed)
        picture = job.look_at(made, attempt)
        run = measured_run(self._run_of(attempt), [recording])
        # A run that fails later is a repeat of this one, though nobody can count what it did.
        self.counted[attempt.job] = run.condition
        flags = (*run.board.flags, *([self.remark] if self.remark else []))
        return replace(
            run,
            board=replace(run.board, flags=flags),
            idle_power_w=self.idle_power_before_w,
            idle_power_before_w=self.idle_power_before_w,
            predicted_energy=self.prediction,
            picture=picture,
        )

    def failed(self, attempt: Attempt, error: str) -> Run:
        """A run that failed, with its reason."""
        log.error("WattBench: a run failed and goes into the table with its reason: %s", error)
        self.host.free_memory()
        run = self._run_of(attempt)
        return failed_run(
            replace(run, condition=self.counted.get(attempt.job, run.condition)), error
        )

    def keep(self, run: Run) -> None:
        """Write a run down as soon as it has ended."""
        if self.journal is not None:
            self.journal.append(run)
        self.kept_count += 1
        self.failed_count += bool(run.error)
        kind = "warm-up" if run.is_warmup else "repeat"
        said = f"{kind} {run.repeat + 1} done, {self._kept}"
        if self.progress is not None:
            self.progress.end(run)
            said = f"{self.progress.text}; {said}"
        self.host.show(said)

    def _idle_power(self, seconds: float) -> float | None:
        if seconds == 0:
            return None
        self.host.show(f"measuring idle power for {seconds:g} s")
        return self.instrument.idle_power(seconds, self.host.rest)

    def _job_of(self, attempt: Attempt) -> Job:
        return (self.job, *self.more_jobs)[attempt.job]

    def _run_of(self, attempt: Attempt) -> Run:
        own = self._job_of(attempt).condition
        run = new_run(
            replace(own, prompts=self.prompts) if self.prompts else own,
            self.environment,
            seed=attempt.seed,
            visit=visit(),
            repeat=attempt.repeat,
            is_warmup=attempt.is_warmup,
            job_id=self.host.job_id(),
        )
        return replace(run, prompt=own.prompts)

    @property
    def _kept(self) -> str:
        where = " in the journal" if self.journal is not None else ""
        failed = f", {self.failed_count} of them failed" if self.failed_count else ""
        return f"{self.kept_count} runs{where}{failed}"


def open_journal(host: Host) -> Journal:
    """The journal in the host's output folder, or in the user's where that cannot be written.

    Raises:
        OSError: neither can be written.
    """
    folder = "wattbench", "journal.jsonl"
    preferred = host.output_folder().joinpath(*folder)
    try:
        return Journal(preferred)
    except OSError as error:
        fallback = host.user_folder().joinpath(*folder)
        log.warning("WattBench cannot write %s (%s); runs go to %s", preferred, error, fallback)
        return Journal(fallback)
