"""What a collected value is: its size and number, the prompts behind it, and unmeasured work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ...measure.protocol.observation import Made, Observation
from ...records import COMPUTE_PHASES, Sampling, short_hash
from .foreign import replaced_functions
from .host import HOST
from .pictures import pictures_sha256
from .thumbnails import keep_thumbnail
from .unmeasured import unmeasured
from .workspace import prompt_texts, settings_behind


def made_of(values: Sequence[Any], made_by: set[str], observations: Sequence[Observation]) -> Made:
    """What a prompt made. ``values`` are IMAGEs or LATENTs, several where ComfyUI made a list.

    Of other values only prompts and unmeasured work are known.
    """
    texts = prompt_texts(HOST.node_id())
    denoised = any(p.name == "denoise" for o in observations for p in o.recording.phases)
    known = Made(
        note="" if denoised else _why_not_denoised(),
        prompt=short_hash(texts) if texts else "",
        settings=settings_behind(HOST.node_id()),
        unmeasured=_unmeasured(made_by, observations),
    )
    samplings = [s for o in observations for s in o.recording.samplings]
    images = [v for v in values if isinstance(v, torch.Tensor) and v.ndim == 4]
    if images and len(images) == len(values):
        return _of_images(known, images, samplings)
    latents = [v["samples"] for v in values if isinstance(v, dict) and "samples" in v]
    if latents and len(latents) == len(values):
        return replace(
            known,
            batch_size=sum(latent.shape[0] for latent in latents),
            sizes_differ=len({latent.shape[-2:] for latent in latents}) > 1,
        )
    return known


def _of_images(known: Made, images: Sequence[torch.Tensor], samplings: list[Sampling]) -> Made:
    count = sum(image.shape[0] for image in images)
    frames = samplings[-1].frames if samplings else 1
    is_video = frames > 1 and count % frames == 0
    sha256 = pictures_sha256(list(images))
    keep_thumbnail(sha256, images[0])
    return replace(
        known,
        width_px=images[-1].shape[2],
        height_px=images[-1].shape[1],
        sizes_differ=len({image.shape[1:3] for image in images}) > 1,
        batch_size=count // frames if is_video else count,
        frames=frames if is_video else 1,
        sha256=sha256,
    )


def _why_not_denoised() -> str:
    replaced = replaced_functions()
    if replaced:
        return f"denoising was not seen, perhaps because of {', '.join(replaced)}"
    return (
        "denoising was not seen: the probed model was not sampled in this prompt, or its sampler "
        "node passes over ComfyUI's wrappers"
    )


def _unmeasured(made_by: set[str], observations: Sequence[Observation]) -> str:
    """The nodes with their seconds, as ``VAEEncode (5.6 s)``."""
    measured_s: defaultdict[str, float] = defaultdict(float)
    for observation in observations:
        measured_s[observation.node_id] += observation.took_s
    compute_s = sum(
        phase.duration_s
        for observation in observations
        for phase in observation.recording.phases
        if phase.name in COMPUTE_PHASES
    )
    return ", ".join(
        f"{name} (before the watching began)" if seconds is None else f"{name} ({seconds:.2g} s)"
        for name, seconds in unmeasured(made_by, measured_s, compute_s)
    )
