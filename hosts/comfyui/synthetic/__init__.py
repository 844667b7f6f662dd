"""Synthetic models: real architectures from ComfyUI's own classes with random weights.

They cost what the real ones cost (seconds, joules, memory) and need no download. To add one, write
a module with its ``ARCHITECTURE`` and put it into ``ARCHITECTURES``.
"""

from __future__ import annotations

from ..identity import ModelIdentity
from . import flux, flux2_klein, qwen_image, sd15, sd35, sdxl, z_image_turbo
from .assembly import (
    TORCH_DTYPES,
    NotEnoughMemoryError,
    Recipe,
    SyntheticModel,
    build_all,
    parameter_counts,
)

__all__ = [
    "ARCHITECTURES",
    "DTYPES",
    "SIZES",
    "NotEnoughMemoryError",
    "SyntheticModel",
    "build",
    "count_parameters",
]

ARCHITECTURES = {
    "sdxl": sdxl.ARCHITECTURE,
    "z_image_turbo": z_image_turbo.ARCHITECTURE,
    "sd15": sd15.ARCHITECTURE,
    "flux": flux.ARCHITECTURE,
    "flux2_klein": flux2_klein.KLEIN_4B,
    "flux2_klein_9b": flux2_klein.KLEIN_9B,
    "sd35": sd35.ARCHITECTURE,
    "qwen_image": qwen_image.ARCHITECTURE,
}
SIZES = ("tiny", "full")
DTYPES = ("auto", *TORCH_DTYPES)


def build(architecture: str, size: str, dtype: str, seed: int) -> SyntheticModel:
    """Build a model with random weights; equal arguments give equal weights.

    Args:
        architecture: a key of ``ARCHITECTURES``.
        size: ``tiny`` (seconds on a CPU) or ``full`` (the real dimensions).
        dtype: of the weights of diffusion model and text encoder. ``auto`` is what ComfyUI would
            choose on this device; ``float8_e4m3fn`` is unscaled, as in a plain FP8 file, and
            computes in the dtype that ComfyUI casts to. The VAE's dtype is ComfyUI's choice.
        seed: of the weights; torch's global generators stay untouched.

    Raises:
        ValueError: an unknown architecture, size or dtype.
        NotEnoughMemoryError: the weights are larger than the memory that is free.
    """
    return build_all(_recipe(architecture, size, dtype, seed))


def count_parameters(architecture: str, size: str) -> dict[str, int]:
    """Parameters of the parts ``model``, ``clip`` and ``vae``, counted without allocating them.

    Raises:
        ValueError: an unknown architecture or size.
    """
    return parameter_counts(_recipe(architecture, size, "auto", 0))


def _recipe(architecture: str, size: str, dtype: str, seed: int) -> Recipe:
    for value, name, choices in (
        (architecture, "architecture", tuple(ARCHITECTURES)),
        (size, "size", SIZES),
        (dtype, "dtype", DTYPES),
    ):
        if value not in choices:
            raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(choices)}")
    chosen = ARCHITECTURES[architecture]
    identity = ModelIdentity(architecture, f"synthetic {architecture} {size}", "synthetic")
    return Recipe(chosen, chosen.variants[size], identity, dtype, seed)
