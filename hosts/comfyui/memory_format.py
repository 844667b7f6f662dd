"""channels_last: convolution weights as NHWC while one clone of a model computes, and no longer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP

from ...quant.memory_format import NAME, convert, convolutions, rearrange_in_place, resident
from .identity import attach_optimization
from .static_vram import static_clone
from .vae_copy import copy_vae

__all__ = ["rearrange_in_place", "use_channels_last", "use_channels_last_vae"]

KEY = "wattbench_memory_format"


def use_channels_last(model: Any) -> Any:
    """A clone of ``model`` that samples with its 2-D convolutions in channels_last.

    The weights, which all clones share, are converted after loading and back when the sampling is
    over. Where weights fault in while the model runs (dynamic VRAM), the clone loads its own.

    Raises:
        ValueError: the model has no 2-D convolution larger than one point.
    """
    _check(model.model.diffusion_model)
    changed = static_clone(model)
    sampling = _Sampling()
    for kind, wrapper in (
        (WrappersMP.OUTER_SAMPLE, sampling.outer_sample),
        (WrappersMP.PREPARE_SAMPLING, sampling.prepare_sampling),
    ):
        changed.remove_wrappers_with_key(kind, KEY)
        changed.add_wrapper_with_key(kind, KEY, wrapper)
    attach_optimization(changed, NAME, NAME)
    return changed


def use_channels_last_vae(vae: Any) -> Any:
    """A copy of ``vae`` that encodes and decodes in channels_last; it shares the weights.

    Raises:
        ValueError: the VAE has no such convolution, or its weights fault in while it runs.
    """
    _check(vae.patcher.model)
    if vae.patcher.is_dynamic():
        raise ValueError(
            "this VAE's weights fault in while it runs (dynamic VRAM), so their memory format "
            "cannot be changed beforehand. Start ComfyUI with --disable-dynamic-vram, or leave the "
            "VAE as it is."
        )
    module, device = vae.patcher.model, vae.patcher.load_device
    changed = copy_vae(vae, NAME, lambda: _lent(module, device))
    attach_optimization(changed.patcher, NAME, NAME)
    return changed


class _Sampling:
    """The wrappers around a sampling, and what is to be undone after it."""

    def __init__(self) -> None:
        self._converted: list[Any] = []

    def outer_sample(self, executor: Any, *args: Any, **kw: Any) -> Any:
        try:
            return executor(*args, **kw)
        finally:
            convert(self._converted, torch.contiguous_format)
            self._converted = []

    def prepare_sampling(self, executor: Any, model: Any, *args: Any, **kw: Any) -> Any:
        """Returns what ComfyUI's does, with the weights converted after they were loaded."""
        prepared = executor(model, *args, **kw)
        unet = model.model.diffusion_model
        self._converted = resident(unet, model.load_device)
        convert(self._converted, torch.channels_last)
        logging.info(
            "WattBench: %d of %d convolutions in channels_last; the others are offloaded",
            len(self._converted),
            len(convolutions(unet)),
        )
        return prepared


@contextmanager
def _lent(module: Any, device: Any) -> Iterator[None]:
    convolutions = resident(module, device)
    convert(convolutions, torch.channels_last)
    try:
        yield
    finally:
        convert(convolutions, torch.contiguous_format)


def _check(module: Any) -> None:
    if not convolutions(module):
        raise ValueError(
            f"{type(module).__name__} has no 2-D convolutions: channels_last would change nothing. "
            "Bypass this node; the format helps U-Nets (SD 1.5, SDXL) and their VAEs."
        )
