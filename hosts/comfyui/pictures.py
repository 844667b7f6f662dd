"""ComfyUI's pictures and latents as arrays."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

Pictures = list[np.ndarray]
"""Arrays of ``[height, width, channels]`` with values between 0 and 1."""


def as_arrays(images: Any, reference: Any) -> tuple[Pictures, Pictures]:
    """Two IMAGEs, or two LATENTs on the scale of the second: its least value 0, its largest 1.

    Raises:
        ValueError: one is an IMAGE and the other a LATENT.
    """
    if isinstance(images, dict) != isinstance(reference, dict):
        raise ValueError("an image cannot be compared with a latent; connect two of one kind")
    if not isinstance(images, dict):
        return arrays(images), arrays(reference)
    latent, origin = (item["samples"].movedim(1, -1).float() for item in (images, reference))
    finite = origin[torch.isfinite(origin)]
    low = finite.min() if finite.numel() else torch.tensor(0.0)
    span = (finite.max() - low) if finite.numel() else torch.tensor(1.0)
    scale = span if span > 0 else torch.tensor(1.0)
    return arrays((latent - low) / scale), arrays((origin - low) / scale)


def pictures_sha256(images: list[Any]) -> str:
    """SHA-256 of the 8-bit values of IMAGEs, ``[n, height, width, channels]``, one after another.

    They are rounded as core's SaveImage rounds them: a hash of the decoded PNGs is the same.
    """
    digest = hashlib.sha256()
    for image in images:
        eight_bit = (255.0 * image.cpu().numpy()).clip(0, 255).astype(np.uint8)
        digest.update(np.ascontiguousarray(eight_bit).tobytes())
    return digest.hexdigest()


def arrays(pictures: torch.Tensor) -> Pictures:
    """The pictures of a batch, ``[batch, height, width, channels]``."""
    return list(pictures.float().cpu().numpy())
