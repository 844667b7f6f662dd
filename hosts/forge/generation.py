"""One generation, measured while Forge makes it as it would anyway."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from modules import processing, shared

from ...errors import named
from ...measure.protocol.observation import open_instrument
from ...measure.protocol.session import open_journal
from ...measure.recording.instrument import Instrument, Recording
from ...measure.recording.runs import failed_run, measured_run, new_run
from ...measure.recording.window import Window
from ...processes.visit import visit
from ...records import COMPUTE_PHASES, Environment, Run
from .describe import asked_condition, has_previews, sampling_facts
from .hooks import missing_points, replaced, watched
from .host import FORGE, HOST, PNG_OPTION
from .options import CHOSEN, Options
from .pictures import Pictures
from .selection import Selection
from .spans import Spans

INNER = "process_images_inner"
"""Forge makes all pictures of a generation in it, once the model is there."""

STOPPED = "the user stopped it"
CACHED = "a part of text_encode came from Forge's cache"
FRESH_CACHE, FRESH_LIST = "cached_", "cond_cache"
"""How Forge's attributes for encoded prompts begin; a run with empty ones encodes anew. A branch
has one list for all of them."""

PNG_KEYS = ("WattBench run", "WattBench J/img", "WattBench s/img", "WattBench meter")


class Generation:
    """From :meth:`begin` to :meth:`close` Forge is watched; both are called in its thread.

    Pictures are saved batch by batch, so what they cost has to be known by then: each batch is a
    recording of its own, and the run is all of them together.

    Raises:
        MeterUnavailableError, PackagesMissingError, OSError: on :meth:`begin`, nothing can be
            measured or written.
    """

    def __init__(self, p: Any, options: Options) -> None:
        self.is_inside = False
        self._p = p
        self._options = options
        self._stack = ExitStack()
        self._pictures = Pictures()
        self._part: tuple[ExitStack, Window, Recording] | None = None
        self._recordings: list[Recording] = []
        self._run_id = uuid.uuid4().hex
        self._selection = Selection(options.setting, options.memory_format, self._is_sampling)
        self._spans = Spans(self._window, self._facts, self._selection)

    def begin(self) -> None:
        """Forge is about to load what the generation needs.

        A cell of a grid along our axes encodes anew, so that cells can be compared.
        """
        if getattr(self._p, CHOSEN, None):
            forget_encodings(self._p)
        try:
            self._instrument, self._environment = self._opened()
            self._journal = open_journal(HOST)
            self._stack.enter_context(watched(self._spans))
            self._stack.enter_context(replaced(processing, INNER, self._inner))
        except BaseException:
            self.close()
            raise

    def batch_done(self, images: Any) -> None:
        """The pictures of a batch are there, and are about to be saved."""
        self._pictures.add(images)
        self._end_part()
        if not shared.opts.data.get(PNG_OPTION, True) or not self._recordings:
            return
        run = self._measured()
        seconds = sum(phase.duration_s for phase in run.phases if phase.name in COMPUTE_PHASES)
        energy, count = run.energy, self._pictures.count
        values = (
            self._run_id,
            None if energy is None else f"{energy.energy_j / count:.5g}",
            f"{seconds / count:.5g}",
            None if energy is None else energy.meter,
        )
        self._p.extra_generation_params.update(zip(PNG_KEYS, values, strict=True))

    def is_of(self, p: Any) -> bool:
        """Whether this is the generation ``p``."""
        return p is self._p

    def finished(self) -> tuple[Run, ...]:
        """Forge has made all of it; the run is in the journal."""
        self._end_part()
        run = self._measured() if self._recordings else failed_run(self._new(), "nothing was made")
        self._journal.append(run)
        return (run,)

    def close(self) -> None:
        """Take every hook away; may be called again."""
        if self._part is not None:
            self._part[0].close()
            self._part = None
        self._stack.close()

    def _opened(self) -> tuple[Instrument, Environment]:
        device, meter = HOST.device(), self._options.meter_name
        return self._stack.enter_context(open_instrument(HOST, device, meter))

    def _inner(self, original: Any, p: Any) -> Any:
        """What Forge calls for ours, and for the generations that other scripts make within it."""
        if p is not self._p:
            return original(p)
        self.is_inside = True
        try:
            return original(p)
        except Exception as error:
            self._journal.append(failed_run(self._new(), named(error)))
            raise
        finally:
            self.is_inside = False
            self.close()

    def _is_sampling(self) -> bool:
        return self._spans.is_sampling

    def _facts(self, sampler: Any, steps: int) -> dict[str, Any]:
        facts = self._selection.facts(sampling_facts(sampler, steps))
        optimizations = filter(None, (facts["optimizations"], has_previews(self._p)))
        return {**facts, "optimizations": ", ".join(optimizations)}

    def _window(self) -> Window:
        if self._part is None:
            part = ExitStack()
            window, recording = part.enter_context(self._instrument.record())
            self._part = part, window, recording
        return self._part[1]

    def _end_part(self) -> None:
        if self._part is not None:
            part, _, recording = self._part
            self._part = None
            part.close()
            self._recordings.append(recording)

    def _new(self) -> Run:
        run = new_run(
            asked_condition(self._p, self._spans.facts),
            self._environment,
            seed=(self._p.all_seeds or [None])[0],
            visit=visit(),
            job_id=HOST.job_id(),
        )
        return replace(run, run_id=self._run_id, prompt=run.condition.prompts)

    def _measured(self) -> Run:
        was_cached = self._spans.was_cached
        parts = [_without_encoding(part) for part in self._recordings]
        run = measured_run(self._new(), parts if was_cached else self._recordings)
        notes = [CACHED if was_cached else "", run.energy_note]
        notes += [f"this Forge does not let {words} be measured" for words in missing_points()]
        stopped = STOPPED if FORGE.is_cancelled() or shared.state.skipped else ""
        return replace(
            run,
            energy_note="; ".join(filter(None, notes)),
            not_counted="; ".join(filter(None, (run.not_counted, stopped))),
            picture=self._pictures.check(),
        )


def forget_encodings(p: Any) -> None:
    """Let a generation encode its prompts anew; what Forge has cached for others stays."""
    for name, value in list(vars(p).items()):
        if name.startswith(FRESH_CACHE):
            setattr(p, name, [None] * len(value))
    if hasattr(p, FRESH_LIST):
        setattr(p, FRESH_LIST, [])


def _without_encoding(recording: Recording) -> Recording:
    """What was encoded of a prompt is less than what the pictures took."""
    kept = tuple(phase for phase in recording.phases if phase.name != "text_encode")
    return replace(recording, phases=kept)
