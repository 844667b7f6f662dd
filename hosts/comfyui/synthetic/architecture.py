"""What describes a synthetic architecture: plain data that ComfyUI's own classes are built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

Weights = dict[str, torch.Tensor]
Gains = tuple[tuple[str, float], ...]
"""Pairs of a pattern of weight names and a gain; the first match counts."""


@dataclass(frozen=True)
class Variant:
    """One size of an architecture.

    ``unet_config`` is what ComfyUI's model detection returns for such a checkpoint.
    ``clip_target`` makes the ``ClipTarget`` (tokenizer and text encoder class) and
    ``text_encoder_config`` holds its ``<name>_model_config`` overrides, empty at full size.
    ``vae`` makes the VAE's module; it runs on the meta device, for names and shapes only.
    """

    unet_config: Mapping[str, Any]
    clip_target: Callable[[], Any]
    vae: Callable[[], torch.nn.Module]
    text_encoder_config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Architecture:
    """One architecture: the class in ``comfy.supported_models`` and its sizes.

    ``gains`` come before the common ones of :mod:`.weights`. ``finish`` edits the drawn weights of
    the diffusion model in place.
    """

    supported_model: type
    variants: Mapping[str, Variant]
    gains: Gains = ()
    finish: Callable[[Weights], None] | None = None
