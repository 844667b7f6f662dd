"""The functions of Forge's that are watched: where it looks them up when it calls them.

They are found by what is there, not by a version: branches of Forge differ. A hook stands for as
long as something is measured, and is taken away whatever happened.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

Wrapper = Callable[..., Any]
"""Called in place of a function, with it as the first argument."""


@dataclass(frozen=True)
class Point:
    """A function of Forge's, by its module and its name there, as ``Sampler.launch_sampling``."""

    module: str
    name: str

    def find(self) -> tuple[Any, str] | None:
        """What holds the function, a loaded module or a class, and its name there."""
        holder = sys.modules.get(self.module)
        *outer, name = self.name.split(".")
        for part in outer:
            holder = getattr(holder, part, None)
        return (holder, name) if holder is not None and name in vars(holder) else None


POINTS: dict[str, tuple[Point, ...]] = {
    "switch": (Point("modules.sd_models", "forge_loader"),),
    "load": (Point("backend.memory_management", "load_models_gpu"),),
    "conditioning": (
        Point("modules.processing", "StableDiffusionProcessing.get_conds_with_caching"),
    ),
    "denoise": (Point("modules.sd_samplers_common", "Sampler.launch_sampling"),),
    "schedule": (Point("modules.sd_samplers_kdiffusion", "KDiffusionSampler.get_sigmas"),),
    "step": (Point("modules.sd_samplers_common", "Sampler.callback_state"),),
    "evaluation": (
        Point("modules.sd_samplers_cfg_denoiser", "sampling_function"),
        Point("modules_forge.forge_sampler", "forge_sample"),
    ),
    "forward": (Point("backend.modules.k_model", "KModel.apply_model"),),
    "decode": (
        Point("backend.patcher.vae", "VAE.decode"),
        Point("backend.patcher.vae", "VAE.decode_tiled"),
    ),
    "vae_encode": (
        Point("backend.patcher.vae", "VAE.encode"),
        Point("backend.patcher.vae", "VAE.encode_tiled"),
    ),
    "upscale": (Point("modules.upscaler", "Upscaler.upscale"),),
    "restore_faces": (Point("modules.face_restoration", "restore_faces"),),
}
"""By what is seen there. All that a branch has of them is watched."""

ENGINES = Point("backend.diffusion_engine.base", "ForgeDiffusionEngine")
ENCODE = "get_learned_conditioning"

NEEDED = {
    "text_encode": "encoding the prompt",
    "denoise": "denoising",
    "step": "steps",
    "evaluation": "evaluations",
    "forward": "calls of the model",
    "decode": "decoding",
}
"""What cannot be measured where it is found nowhere."""


def found_points() -> Iterator[tuple[str, Any, str]]:
    """What is seen, what holds the function, and its name, for all that this Forge has."""
    for seen, points in POINTS.items():
        for point in points:
            place = point.find()
            if place is not None:
                yield (seen, *place)
    for engine in _engines():
        yield "text_encode", engine, ENCODE


def missing_points() -> list[str]:
    """What cannot be measured in this Forge, in words."""
    found = {seen for seen, _, _ in found_points()}
    return [words for seen, words in NEEDED.items() if seen not in found]


@contextmanager
def replaced(holder: Any, name: str, wrapper: Wrapper) -> Iterator[None]:
    """Within the block, ``wrapper(function, ...)`` is called in place of a function.

    Where somebody else has put theirs over it meanwhile, theirs stays, and what it calls of ours
    only passes on from then.
    """
    original = vars(holder)[name]
    is_over = False

    @functools.wraps(original)
    def hook(*args: Any, **kw: Any) -> Any:
        return original(*args, **kw) if is_over else wrapper(original, *args, **kw)

    setattr(holder, name, hook)
    try:
        yield
    finally:
        is_over = True
        if vars(holder)[name] is hook:
            setattr(holder, name, original)


@contextmanager
def watched(watcher: object) -> Iterator[None]:
    """Within the block, the methods of ``watcher`` stand before the functions of that name.

    Those that it lacks are left alone.
    """
    with ExitStack() as stack:
        for seen, holder, name in found_points():
            wrapper = getattr(watcher, seen, None)
            if wrapper is not None:
                stack.enter_context(replaced(holder, name, wrapper))
        yield


def _engines() -> list[Any]:
    """The classes of models that encode prompts in a way of their own."""
    place = ENGINES.find()
    waiting = [] if place is None else [getattr(*place)]
    found: list[Any] = []
    while waiting:
        engine = waiting.pop()
        waiting += engine.__subclasses__()
        if ENCODE in vars(engine) and engine not in found:
            found.append(engine)
    return sorted(found, key=attrgetter("__name__"))
