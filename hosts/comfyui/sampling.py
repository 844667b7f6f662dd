"""What a sampler does, seen through the wrappers that ComfyUI offers on a model's clone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from comfy.patcher_extension import WrappersMP

from ...measure.recording.busy import BusyWatch
from ...measure.recording.window import OpenSpan, Window
from ...records import Forwards, Sampling
from .describe import model_bytes, sampling_facts
from .ledgers import ledgers_of

KEY = "wattbench"

Observe = Callable[[dict[str, Any], int | None], AbstractContextManager[Window]]
"""Given the facts and the seed of a sampling about to begin, opens the window that records it.

It may put right what it knows better: the facts are then those of the recorded sampling."""

Kind = tuple[tuple[int, ...], int | None, int]
"""A forward: shape of its latent, tokens of a row, ControlNets."""


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
        (WrappersMP.CALC_COND_BATCH, sampling.calc_cond_batch),
        (WrappersMP.APPLY_MODEL, sampling.apply_model),
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
        guider = executor.class_obj
        # Of several latents that are sampled as one, the first is the picture's.
        shape = tuple((kw.get("latent_shapes") or [noise.shape])[0])
        facts = sampling_facts(guider, shape, sampler, sigmas)
        weights_bytes = model_bytes(guider.model_patcher)
        seed = args[7] if len(args) > 7 else kw.get("seed")
        ledgers = ledgers_of(guider.model_patcher)
        with self._observe(facts, seed) as window:
            self._window = window
            self._forwards: Counter[Kind] = Counter()
            self._in_control: list[tuple[Any, Any]] = []
            ledgers.clear()
            try:
                result = executor(*args, **kw)
                window.sampled(
                    self._counted(facts, guider, weights_bytes), self._denoise, self._in_control
                )
                return result
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
        self._busy = BusyWatch(args[0].model_patcher.load_device)
        with window.phase("denoise") as self._denoise, self._busy:
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

    def calc_cond_batch(self, executor: Any, *args: Any, **kw: Any) -> Any:
        """ComfyUI calls ``(model, conds, x, timestep, model_options)``."""
        if self._window is not None:
            conds = [cond for conds in args[1] for cond in conds or ()]
            self._controls = max((_chain(cond.get("control")) for cond in conds), default=0)
            self._began = self._window.mark() if self._controls else None
        return executor(*args, **kw)

    def apply_model(self, executor: Any, x: Any, *args: Any, **kw: Any) -> Any:
        """ComfyUI calls ``(x, t, concat, crossattn, control, transformer_options, ...)``."""
        window = self._window
        if window is None or self._denoise is None:
            return executor(x, *args, **kw)
        crossattn, control = (args[index] if len(args) > index else None for index in (2, 3))
        tokens = None if crossattn is None or crossattn.ndim < 3 else crossattn.shape[1]
        controls = self._controls if control is not None else 0
        self._forwards[tuple(x.shape), tokens, controls] += 1
        if not controls:
            return executor(x, *args, **kw)
        self._in_control.append((self._began, window.mark()))
        result = executor(x, *args, **kw)
        self._began = window.mark()
        return result

    def _counted(self, facts: dict[str, Any], guider: Any, weights_bytes: int) -> Sampling:
        span = self._denoise
        asked = ("architecture", "model", "sampler", "width_px", "height_px", "batch_size")
        return Sampling(
            **{name: facts[name] for name in (*asked, "frames", "steps")},
            guider=type(guider).__name__,
            scales=scales_of(guider),
            steps_made=0 if span is None else len(span.steps),
            nfe=0 if span is None or span.nfe is None else span.nfe,
            forwards=tuple(Forwards(count, *kind) for kind, count in self._forwards.items()),
            model_bytes=weights_bytes,
            is_dynamic=bool(guider.model_patcher.is_dynamic()),
            busy=None if span is None else self._busy.reading,
        )


def scales_of(guider: Any) -> tuple[tuple[str, float], ...]:
    """A guider's numbers by name; its base class's ``cfg`` only where it is used."""
    numbers = {
        name: float(value)
        for name, value in sorted(vars(guider).items())
        if isinstance(value, (int, float))
    }
    if any(name.startswith("cfg") and name != "cfg" for name in numbers):
        numbers.pop("cfg", None)
    return tuple(numbers.items())


def _chain(control: Any) -> int:
    """How many ControlNets hang on a conditioning."""
    count = 0
    while control is not None:
        count += 1
        control = getattr(control, "previous_controlnet", None)
    return count
