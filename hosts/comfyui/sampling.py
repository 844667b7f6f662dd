"""What a sampler does, seen through the wrappers that ComfyUI offers on a model's clone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from comfy.patcher_extension import WrappersMP

from ...measure.recording.window import OpenSpan, Window
from .describe import sampling_facts
from .ledgers import ledgers_of

KEY = "wattbench"

Observe = Callable[[dict[str, Any], int | None], AbstractContextManager[Window]]
"""Given the facts and the seed of a sampling about to begin, opens the window that records it."""


def observe_sampling(model: Any, observe: Observe) -> Any:
    """A clone of ``model`` whose samplings are recorded: loading, denoising, steps, evaluations.

    The clone computes exactly what the model does. Observing it again replaces the observer.
    """
    observed = model.clone()
    sampling = _Sampling(observe)
    for kind, wrapper in (
        (WrappersMP.OUTER_SAMPLE, sampling.outer_sample),
        (WrappersMP.PREPARE_SAMPLING, sampling.prepare_sampling),
        (WrappersMP.SAMPLER_SAMPLE, sampling.sampler_sample),
        (WrappersMP.PREDICT_NOISE, sampling.predict_noise),
    ):
        observed.remove_wrappers_with_key(kind, KEY)
        observed.add_wrapper_with_key(kind, KEY, wrapper)
    return observed


class _Sampling:
    """The wrappers, in the order in which ComfyUI calls them, and the window they write to."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe
        self._window: Window | None = None
        self._denoise: OpenSpan | None = None

    def outer_sample(self, executor: Any, *args: Any, **kw: Any) -> Any:
        """ComfyUI calls ``(noise, latent, sampler, sigmas, mask, callback, no_bar, seed)``."""
        noise, _, sampler, sigmas = args[:4]
        facts = sampling_facts(executor.class_obj, noise, sampler, sigmas)
        seed = args[7] if len(args) > 7 else kw.get("seed")
        ledgers = ledgers_of(executor.class_obj.model_patcher)
        with self._observe(facts, seed) as window:
            self._window = window
            ledgers.clear()
            try:
                return executor(*args, **kw)
            finally:
                window.kernel_calls += ledgers.read()
                self._window = self._denoise = None

    def prepare_sampling(self, executor: Any, *args: Any, **kw: Any) -> Any:
        if self._window is None:
            return executor(*args, **kw)
        with self._window.phase("load"):
            return executor(*args, **kw)

    def sampler_sample(self, executor: Any, *args: Any, **kw: Any) -> Any:
        """ComfyUI calls ``(guider, sigmas, extra_args, callback, noise, ...)``."""
        window = self._window
        if window is None:
            return executor(*args, **kw)
        callback = args[3]
        with window.phase("denoise") as self._denoise:
            span = self._denoise
            span.nfe = 0

            def step_callback(*step: Any) -> Any:
                window.step(span)
                return callback(*step) if callback is not None else None

            return executor(*args[:3], step_callback, *args[4:], **kw)

    def predict_noise(self, executor: Any, *args: Any, **kw: Any) -> Any:
        if self._denoise is not None and self._denoise.nfe is not None:
            self._denoise.nfe += 1
        return executor(*args, **kw)
