"""The protocol in Forge: a generation made again and again, and every run of it measured."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from copy import copy
from typing import Any

from modules import processing, sd_samplers_common

from ...measure.protocol.experiment import SEED_RANGE, Attempt, Plan
from ...measure.protocol.observation import open_instrument
from ...measure.protocol.session import Session, open_journal
from ...measure.recording.window import Window
from ...records import Condition, PictureCheck, Run
from ...report import append_runs, summary_text
from .captions import cost_text
from .describe import asked_condition, sampling_facts
from .generation import CACHED, INNER, forget_encodings
from .hooks import replaced, watched
from .host import HOST
from .options import Options, results_folder
from .pictures import Pictures
from .selection import Selection
from .spans import Spans

KEPT_OF_OURS = ("close", "seed", "subseed", "override_settings", "do_not_save_samples")
"""What a generation keeps of its own when it takes over what its last run has found out."""


class ForgeJob:
    """Forge's generation ``p`` as a job; see :class:`...measure.protocol.session.Job`.

    ``made`` are the results of the repeats, in order, ``latest`` is the generation of the last run.
    """

    def __init__(self, p: Any, options: Options) -> None:
        self.made: list[Any] = []
        self.latest: Any = p
        self._p = p
        self._pictures = Pictures()
        self._selection = Selection(options.setting, options.memory_format, self._is_sampling)
        self.spans = Spans(self._window_now, self._facts, self._selection)

    @property
    def condition(self) -> Condition:
        return asked_condition(self._p, self.spans.facts)

    def make(self, window: Window, seed: int) -> Any:
        """Forge's result for ``seed``, with its prompts encoded anew and no preview drawn.

        Raises:
            InterruptedException: the user has stopped it.
        """
        self._window = window
        self._pictures = Pictures()
        self.spans.restart()
        self.latest = again(self._p, seed)
        made = processing.process_images(self.latest)
        HOST.stop_if_cancelled()
        if self.spans.was_cached:
            window.faults.append(CACHED)
        return made

    def look_at(self, made: Any, attempt: Attempt) -> PictureCheck | None:
        """Keep the pictures of a repeat, and say of any whether it is black or flat."""
        if not attempt.is_warmup:
            self.made.append(made)
        return self._pictures.check()

    def batch_done(self, images: Any) -> None:
        self._pictures.add(images)

    def _window_now(self) -> Window:
        return self._window

    def _is_sampling(self) -> bool:
        return self.spans.is_sampling

    def _facts(self, sampler: Any, steps: int) -> dict[str, Any]:
        return self._selection.facts(sampling_facts(sampler, steps))


class Benchmark:
    """Between :meth:`begin` and :meth:`close` Forge's generation ``p`` becomes a benchmark of it.

    Its pictures are those of all repeats. ``tell`` gets the runs once there are all of them.
    """

    def __init__(self, p: Any, options: Options, tell: Callable[[tuple[Run, ...]], None]) -> None:
        self.is_inside = False
        self._p = p
        self._tell = tell
        self._options = options
        self._stack = ExitStack()
        self._job: ForgeJob | None = None

    def begin(self) -> None:
        """Forge is about to load what the generation needs."""
        self._stack.enter_context(replaced(processing, INNER, self._inner))

    def batch_done(self, images: Any) -> None:
        """The pictures of a batch are there."""
        if self._job is not None:
            self._job.batch_done(images)

    def is_of(self, p: Any) -> bool:
        """Whether ``p`` is the generation of the run that is being made."""
        return self._job is not None and p is self._job.latest

    def finished(self) -> tuple[Run, ...]:
        """None yet: a run has ended, and the session sees to it."""
        return ()

    def close(self) -> None:
        """Take every hook away; may be called again."""
        self._stack.close()

    def _inner(self, original: Any, p: Any) -> Any:
        if p is not self._p:
            return original(p)
        self.close()
        self.is_inside = True
        try:
            return self._carried_out(p)
        finally:
            self.is_inside = False

    def _carried_out(self, p: Any) -> Any:
        options = self._options
        p.seed, p.subseed = (processing.get_fixed_seed(seed) for seed in (p.seed, p.subseed))
        self._job = job = ForgeJob(p, options)
        plan = Plan(
            options.warmups, options.repeats, int(p.seed) % SEED_RANGE, options.max_warmup_s
        )
        journal = open_journal(HOST)
        with (
            open_instrument(HOST, HOST.device(), options.meter_name) as (instrument, environment),
            watched(job.spans),
        ):
            session = Session(HOST, job, instrument, environment, journal)
            try:
                runs = session.carry_out(plan, options.idle_s, options.cooldown_s)
            except sd_samplers_common.InterruptedException:
                told = f"stopped; {session.kept_count} runs are in {journal.path}"
                return self._result(p, job, f"WattBench: {told}")
        self._tell(tuple(runs))
        files = append_runs(runs, results_folder())
        logging.info("WattBench\n%s", summary_text(runs))
        errors = [run.error for run in runs if run.error and not run.is_warmup]
        if not job.made:
            raise RuntimeError(f"WattBench: every repeat failed, the last one with {errors[-1]}")
        failed = f", {len(errors)} failed" if errors else ""
        told = (
            f"WattBench: {cost_text(runs)}, {options.repeats} repeats{failed}. Tables: {files[0]}"
        )
        return self._result(p, job, told)

    def _result(self, p: Any, job: ForgeJob, told: str) -> Any:
        """Forge's result with the pictures of all repeats."""
        found = {k: v for k, v in vars(job.latest).items() if k not in KEPT_OF_OURS}
        vars(p).update(found)
        p.comment(told)
        if not job.made:
            return processing.Processed(p, [], p.seed, "")
        pictures = [picture for made in job.made for picture in _own(made, made.images)]
        texts = [text for made in job.made for text in _own(made, made.infotexts)]
        result = job.made[-1]
        result.images, result.infotexts, result.index_of_first_image = pictures, texts, 0
        result.comments = f"{result.comments}\n{told}".strip()
        return result


def again(p: Any, seed: int) -> Any:
    """A generation as ``p``, with this seed, that has encoded nothing yet and draws no previews."""
    other = copy(p)
    for name, value in vars(p).items():
        if type(value) in (list, dict):
            setattr(other, name, copy(value))
    forget_encodings(other)
    other.seed = seed
    other.do_not_save_grid = True
    other.override_settings = {**p.override_settings, "live_previews_enable": False}
    return other


def _own(made: Any, values: list[Any]) -> list[Any]:
    """Without a grid that Forge has put before the pictures."""
    return values[made.index_of_first_image :]
