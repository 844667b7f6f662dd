"""What one run of Forge does, written to the window that records it as Forge calls its functions.

The methods that :mod:`.hooks` puts before Forge's functions are named as it names them. Loading
within an encoding or a decoding is taken out of it. Within a sampling only a change of the model
is: what else happens there is part of its steps.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from ...measure.recording.window import OpenSpan, Window
from ...records import Forwards, KernelCalls, Sampling

Kind = tuple[tuple[int, ...], int | None, int]
"""A forward: shape of its latent, tokens of a row, ControlNets."""

ASKED = ("architecture", "model", "sampler", "width_px", "height_px", "batch_size", "frames")


class Around(Protocol):
    """What is done to a model for the time of a sampling, and counted in it."""

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Prepares the model, and puts it back."""
        ...

    def read(self) -> list[KernelCalls]:
        """The calls of the latest sampling."""
        ...


class Spans:
    """``was_cached`` says that a prompt was encoded by an earlier generation, so that its cost is
    not in this one.

    Args:
    window: gives the window that is recorded into, and opens one if need be.
    describe: the facts of a sampling that is about to begin, of Forge's sampler and its steps.
    around: the choices that a sampling is made with.
    """

    def __init__(
        self,
        window: Callable[[], Window],
        describe: Callable[[Any, int], dict[str, Any]],
        around: Around,
    ) -> None:
        self.facts: list[dict[str, Any]] = []
        self.was_cached = False
        self._encoding_count = 0
        self._encoded: list[Any] = []
        self._window = window
        self._describe = describe
        self._around = around
        self._thread = threading.get_ident()
        self._name = ""
        self._start: Any = None
        self._is_fresh = False
        self._denoising: _Denoising | None = None
        self._schedule: int | None = None

    def restart(self) -> None:
        """Another run begins."""
        self.facts.clear()
        self._encoded.clear()
        self.was_cached = False

    @property
    def is_sampling(self) -> bool:
        """Whether a sampling goes on in this thread."""
        return self._is_here and self._denoising is not None and self._denoising.segment is not None

    @property
    def _is_here(self) -> bool:
        """Previews are drawn by threads of their own."""
        return threading.get_ident() == self._thread

    # What Forge calls -----------------------------------------------------------------------

    def switch(self, original: Any, *args: Any, **kw: Any) -> Any:
        """``forge_loader(file, ...)`` reads a checkpoint; within a sampling it is the refiner's."""
        if self._is_here and self._denoising is not None:
            self._denoising.end(is_whole=False)
        return self._phase("load", original, args, kw)

    def load(self, original: Any, *args: Any, **kw: Any) -> Any:
        """``load_models_gpu(models, ...)``"""
        return self._phase("load", original, args, kw)

    def text_encode(self, original: Any, *args: Any, **kw: Any) -> Any:
        """``get_learned_conditioning(engine, prompts)``"""
        self._encoding_count += self._is_here
        return self._phase("text_encode", original, args, kw)

    def conditioning(self, original: Any, *args: Any, **kw: Any) -> Any:
        """``get_conds_with_caching(p, ...)``: what this run has encoded itself, or another had."""
        before = self._encoding_count
        found = original(*args, **kw)
        if self._is_here and self._encoding_count > before:
            self._encoded.append(found)
        elif self._is_here and not any(found is known for known in self._encoded):
            self.was_cached = True
        return found

    def decode(self, original: Any, *args: Any, **kw: Any) -> Any:
        """``decode(vae, latent)``"""
        return self._phase("decode", original, args, kw)

    def vae_encode(self, original: Any, *args: Any, **kw: Any) -> Any:
        """``encode(vae, pixels)``"""
        return self._aside("VAE encoding", original, args, kw)

    def upscale(self, original: Any, *args: Any, **kw: Any) -> Any:
        """``upscale(upscaler, picture, scale, model)``"""
        return self._aside("upscaling", original, args, kw)

    def restore_faces(self, original: Any, *args: Any, **kw: Any) -> Any:
        """``restore_faces(picture)``"""
        return self._aside("restoring faces", original, args, kw)

    def schedule(self, original: Any, *args: Any, **kw: Any) -> Any:
        """``get_sigmas(sampler, p, steps)``: noise levels, one more than there are steps."""
        sigmas = original(*args, **kw)
        self._schedule = len(sigmas) - 1
        return sigmas

    def denoise(self, original: Any, sampler: Any, steps: int, func: Any) -> Any:
        """``launch_sampling(sampler, steps, func)``"""
        if not self._is_here or self._denoising is not None:
            return original(sampler, steps, func)
        planned = steps if self._schedule is None else min(steps, self._schedule)
        self._schedule = None
        self._denoising = denoising = _Denoising(self, sampler, planned)
        try:
            denoising.begin()
            result = original(sampler, steps, func)
            denoising.end()
        finally:
            denoising.drop()
            self._denoising = None
        return result

    def evaluation(self, original: Any, denoiser: Any, *args: Any, **kw: Any) -> Any:
        """``sampling_function(denoiser, ...)``, once for each evaluation of the sampler."""
        if self._is_here and self._denoising is not None:
            unet = denoiser.inner_model.inner_model.forge_objects.unet
            self._denoising.evaluate(unet.controlnet_linked_list is not None)
        return original(denoiser, *args, **kw)

    def forward(self, original: Any, model: Any, x: Any, *args: Any, **kw: Any) -> Any:
        """``apply_model(model, x, t, c_concat, c_crossattn, control, ...)``"""
        if not self.is_sampling or self._denoising is None:
            return original(model, x, *args, **kw)
        return self._denoising.forward(original, model, x, args, kw)

    def step(self, original: Any, sampler: Any, *args: Any, **kw: Any) -> Any:
        """``callback_state(sampler, state)``"""
        if self._is_here and self._denoising is not None:
            self._denoising.step()
        return original(sampler, *args, **kw)

    # How it is written down -----------------------------------------------------------------

    def _phase(self, name: str, original: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        """The phase ``name``, unless it is part of a sampling or of one of the same name.

        What it is within is split by it; Forge loads first, so that before the first split there
        is nothing. A phase that was cut short by an error is not kept.
        """
        if not self._is_here or self.is_sampling or self._name == name:
            return original(*args, **kw)
        outer, window = self._name, self._window()
        if outer and self._is_fresh:
            start = self._start
        else:
            start = window.mark()
            if outer:
                window.add(outer, self._start, start)
        self._name, self._start, self._is_fresh = name, start, True
        try:
            result = original(*args, **kw)
            window.add(name, self._start, window.mark())
            return result
        finally:
            self._name, self._start, self._is_fresh = outer, window.mark(), False

    def _aside(self, what: str, original: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        """Work on the picture that no phase is for: only its seconds are known."""
        if not self._is_here or self.is_sampling:
            return original(*args, **kw)
        began_s = time.perf_counter()
        try:
            return original(*args, **kw)
        finally:
            self._window().unmeasured_s[what] += time.perf_counter() - began_s

    def open_window(self) -> Window:
        """The window that is recorded into now."""
        return self._window()

    def prepared(self, sampler: Any, steps: int) -> dict[str, Any]:
        """The facts of a sampling that begins, which are kept."""
        facts = self._describe(sampler, steps)
        self.facts.append(facts)
        return facts

    @property
    def around(self) -> Around:
        return self._around


class _Denoising:
    """One call of a sampler; a refiner splits it into the samplings of two models."""

    def __init__(self, spans: Spans, sampler: Any, steps: int) -> None:
        self.segment: OpenSpan | None = None
        self._spans = spans
        self._sampler = sampler
        self._steps = steps
        self._steps_made = 0
        self._stack = ExitStack()

    def begin(self) -> None:
        """The model that is loaded now denoises."""
        self._facts = self._spans.prepared(self._sampler, self._steps)
        self._forwards: Counter[Kind] = Counter()
        self._in_control: list[tuple[Any, Any]] = []
        self._began: Any = None
        self._stack.enter_context(self._spans.around.sampling())
        self._window = self._spans.open_window()
        self._phase = self._window.phase("denoise")
        self.segment = self._phase.__enter__()
        self.segment.nfe = 0

    def end(self, is_whole: bool = True) -> None:
        """It has done its part, or all that was left; what was counted is written down."""
        segment = self.segment
        if segment is None:
            return
        self.segment = None
        self._phase.__exit__(None, None, None)
        made = len(segment.steps)
        steps = self._steps - self._steps_made if is_whole else made
        self._steps_made += made
        self._window.sampled(self._counted(segment, steps), segment, self._in_control)
        self._window.kernel_calls += self._spans.around.read()
        self._stack.close()

    def drop(self) -> None:
        """What was not brought to its end is forgotten."""
        self.segment = None
        self._stack.close()

    def evaluate(self, has_control: bool) -> None:
        if self.segment is None:
            self.begin()
        segment = self.segment
        if segment is not None and segment.nfe is not None:
            segment.nfe += 1
        self._began = self._window.mark() if has_control else None

    def forward(
        self, original: Any, model: Any, x: Any, args: tuple[Any, ...], kw: dict[str, Any]
    ) -> Any:
        text = kw.get("c_crossattn", args[2] if len(args) > 2 else None)
        tokens = None if text is None or text.ndim < 3 else int(text.shape[1])
        controls = _chain(kw.get("control_model")) if kw.get("control") is not None else 0
        self._forwards[tuple(x.shape), tokens, controls] += 1
        if not controls:
            return original(model, x, *args, **kw)
        self._in_control.append((self._began, self._window.mark()))
        result = original(model, x, *args, **kw)
        self._began = self._window.mark()
        return result

    def step(self) -> None:
        if self.segment is not None:
            self._window.step(self.segment)

    def _counted(self, segment: OpenSpan, steps: int) -> Sampling:
        facts, p = self._facts, self._sampler.p
        is_second_pass = getattr(p, "is_hr_pass", False)
        cfg = p.hr_cfg if is_second_pass else self._sampler.sampler_extra_args["cond_scale"]
        return Sampling(
            **{name: facts[name] for name in ASKED},
            guider="CFGGuider",
            scales=(("cfg", float(cfg)),),
            steps=steps,
            steps_made=len(segment.steps),
            nfe=segment.nfe or 0,
            forwards=tuple(Forwards(count, *kind) for kind, count in self._forwards.items()),
            model_bytes=facts["model_bytes"],
        )


def _chain(control: Any) -> int:
    """How many ControlNets hang together."""
    count = 0
    while control is not None:
        count += 1
        control = getattr(control, "previous_controlnet", None)
    return count
