"""FLOPs of a run, before it runs: pure functions of integers.

Two conventions. ``exact`` counts what torch's ``FlopCounterMode`` counts over ComfyUI's own model,
a multiply-add as 2. ``paper`` counts as arXiv 2511.17031v2 does and is there to reproduce its fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from . import flux, paper, qwen_image, sd2, sd15, sd35, sdxl, z_image
from .base import FlopCount, Formula
from .nfe import UnknownNfeError, function_evaluations, model_calls
from .vae import PX_PER_LATENT

__all__ = [
    "DEFAULT_TEXT_TOKENS",
    "FORMULAS",
    "Convention",
    "FlopCount",
    "Formula",
    "UnknownNfeError",
    "flop_count",
    "function_evaluations",
    "model_calls",
]

Convention = Literal["exact", "paper"]

FORMULAS: Mapping[Convention, Mapping[str, Formula]] = {
    "exact": {
        "sd15": sd15.FORMULA,
        "sd2": sd2.FORMULA,
        "sdxl": sdxl.FORMULA,
        "sd35": sd35.FORMULA,
        "flux": flux.FORMULA,
        "qwen_image": qwen_image.FORMULA,
        "z_image": z_image.FORMULA,
    },
    "paper": {
        "sd2": paper.SD2,
        "sd35": paper.SD35,
        "flux": paper.FLUX,
        "qwen_image": paper.QWEN_IMAGE,
    },
}

DEFAULT_TEXT_TOKENS = 12
"""Mean length of a COCO caption as arXiv 2511.17031v2, Table 5, gives it."""


def flop_count(
    architecture: str,
    width_px: int,
    height_px: int,
    steps: int,
    *,
    cfg: float = 1.0,
    batch_size: int = 1,
    text_tokens: int = DEFAULT_TEXT_TOKENS,
    context_rows: int | None = None,
    sampler: str = "euler",
    convention: Convention = "exact",
) -> FlopCount:
    """FLOPs of one run: a prompt (and a negative one under guidance), a batch of pictures.

    ``cfg`` is the guidance scale, 1 meaning none. The negative prompt counts as long as the
    prompt. One prompt is encoded for the whole batch. ``context_rows`` are the rows of the
    conditioning that the denoiser really gets, where they are known; by default they follow from
    ``text_tokens`` as ComfyUI (``exact``) or the paper's pipeline (``paper``) pads them.

    Raises:
        ValueError: an architecture or convention that has no formula, a size that is not a
            positive multiple of 8 px, a batch or step count below 1, a negative token count.
        UnknownNfeError: a sampler whose evaluations cannot be told beforehand.
    """
    formula = _formula(architecture, convention)
    for name, value in (("width_px", width_px), ("height_px", height_px)):
        if value < PX_PER_LATENT or value % PX_PER_LATENT:
            raise ValueError(f"{name} must be a positive multiple of 8, got {value}")
    if batch_size < 1 or text_tokens < 0:
        raise ValueError(
            f"batch_size must be at least 1 and text_tokens at least 0, got {batch_size} and "
            f"{text_tokens}"
        )
    nfe = function_evaluations(sampler, steps)
    calls = model_calls(sampler, cfg)
    rows = formula.context_rows(text_tokens) if context_rows is None else context_rows
    evaluation = formula.evaluation(width_px, height_px, rows)
    return FlopCount(
        text_encode=calls * formula.text_encode(text_tokens),
        denoise=nfe * calls * batch_size * evaluation,
        decode=batch_size * formula.decode(width_px, height_px),
        nfe=nfe,
    )


def _formula(architecture: str, convention: Convention) -> Formula:
    if convention not in FORMULAS:
        raise ValueError(f"no convention {convention!r}; there are {', '.join(FORMULAS)}")
    formulas = FORMULAS[convention]
    if architecture not in formulas:
        raise ValueError(
            f"no formula for {architecture!r} in the convention {convention!r}; there are "
            f"{', '.join(formulas)}"
        )
    return formulas[architecture]
