"""channels_last: convolution weights as NHWC while one clone of a model computes, and no longer.

cuDNN's tensor-core convolutions work on NHWC and convert NCHW on the way in and out. A convolution
whose weights are channels_last hands NHWC on to the next layer. See PyTorch's page
"Channels Last Memory Format".
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP

from .identity import attach_optimization
from .vae_copy import copy_vae

KEY = "wattbench_memory_format"
NAME = "channels_last"


def use_channels_last(model: Any) -> Any:
    """A clone of ``model`` that samples with its 2-D convolutions in channels_last.

    The weights, which all clones share, are converted after loading and back when the sampling is
    over. Where weights fault in while the model runs (dynamic VRAM), the clone loads its own.

    Raises:
        ValueError: the model has no 2-D convolution larger than one point.
    """
    _check(model.model.diffusion_model)
    changed = model.clone(disable_dynamic=True)
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
            _convert(self._converted, torch.contiguous_format)
            self._converted = []

    def prepare_sampling(self, executor: Any, model: Any, *args: Any, **kw: Any) -> Any:
        """Returns what ComfyUI's does, with the weights converted after they were loaded."""
        prepared = executor(model, *args, **kw)
        unet = model.model.diffusion_model
        self._converted = _resident(unet, model.load_device)
        _convert(self._converted, torch.channels_last)
        logging.info(
            "WattBench: %d of %d convolutions in channels_last; the others are offloaded",
            len(self._converted),
            len(_convolutions(unet)),
        )
        return prepared


@contextmanager
def _lent(module: Any, device: Any) -> Iterator[None]:
    convolutions = _resident(module, device)
    _convert(convolutions, torch.channels_last)
    try:
        yield
    finally:
        _convert(convolutions, torch.contiguous_format)


def _convolutions(module: Any) -> list[Any]:
    """2-D convolutions whose weights the format rearranges: those larger than one point."""
    return [
        part
        for part in module.modules()
        if isinstance(part, torch.nn.Conv2d) and tuple(part.kernel_size) != (1, 1)
    ]


def _check(module: Any) -> None:
    if not _convolutions(module):
        raise ValueError(
            f"{type(module).__name__} has no 2-D convolutions: channels_last would change nothing. "
            "Bypass this node; the format helps U-Nets (SD 1.5, SDXL) and their VAEs."
        )


def _resident(module: Any, device: Any) -> list[Any]:
    """Those in the plain format on ``device``; offloaded ones are copied there in the plain one."""
    return [
        part
        for part in _convolutions(module)
        if part.weight.device == device and part.weight.is_contiguous()
    ]


def _convert(convolutions: list[Any], memory_format: torch.memory_format) -> None:
    """Rearrange weights: on a GPU where they lie; in main memory, which may be a file's, anew."""
    for part in convolutions:
        if part.weight.device.type == "cpu":
            part.weight.data = part.weight.data.contiguous(memory_format=memory_format)
        else:
            rearrange_in_place(part.weight, memory_format)


def rearrange_in_place(weight: Any, memory_format: torch.memory_format) -> None:
    """Change the order in memory of a ``[out, in, height, width]`` weight, not its address.

    CUDA graphs have recorded the address.
    """
    arranged = weight.data.contiguous(memory_format=memory_format)
    weight.data = weight.data.as_strided(weight.shape, arranged.stride()).copy_(arranged)
