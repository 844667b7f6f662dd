"""FLOPs of a run, before it runs: pure functions of integers.

Two conventions. ``exact`` counts what torch's ``FlopCounterMode`` counts over ComfyUI's own model,
a multiply-add as 2. ``paper`` counts as arXiv 2511.17031v2 does and is there to reproduce its fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from . import flux, flux2, paper, qwen_image, sd2, sd15, sd35, sdxl, z_image
from .base import Cost, FlopCount, Formula, RunWork
from .nfe import UnknownNfeError, function_evaluations, model_calls
from .primitives import Work
from .vae import PX_PER_LATENT

__all__ = [
    "ALIASES",
    "DEFAULT_CFG",
    "DEFAULT_TEXT_TOKENS",
    "FORMULAS",
    "PAPER_FORMULAS",
    "Convention",
    "FlopCount",
    "Formula",
    "Guidance",
    "RunWork",
    "UnknownNfeError",
    "Work",
    "flop_count",
    "function_evaluations",
    "model_calls",
    "run_work",
]

Convention = Literal["exact", "paper"]
Guidance = Literal["batched", "sequential"]
"""How the two passes of guidance run: as one batch of two, or one after the other."""

FORMULAS: Mapping[str, Formula[Work]] = {
    "sd15": sd15.FORMULA,
    "sd2": sd2.FORMULA,
    "sdxl": sdxl.FORMULA,
    "sd35": sd35.FORMULA,
    "flux": flux.FORMULA,
    "flux2_klein": flux2.KLEIN_4B,
    "flux2_klein_9b": flux2.KLEIN_9B,
    "qwen_image": qwen_image.FORMULA,
    "z_image": z_image.FORMULA,
}

PAPER_FORMULAS: Mapping[str, Formula[int]] = {
    "sd2": paper.SD2,
    "sd35": paper.SD35,
    "flux": paper.FLUX,
    "qwen_image": paper.QWEN_IMAGE,
}

ALIASES: Mapping[str, str] = {
    "sd20": "sd2",
    "sd3.5": "sd35",
    "fluxschnell": "flux",
    "qwen": "qwen_image",
    "qwenimage": "qwen_image",
    "zimage": "z_image",
    "z_image_turbo": "z_image",
}
"""Other names of the same networks: those of ComfyUI's model classes and of the paper's tables.

ComfyUI's ``sd3`` is none of them: it stands for models of several sizes.
"""

DEFAULT_CFG: Mapping[str, float] = {
    "sd15": 7.0,
    "sd2": 7.0,
    "sdxl": 7.0,
    "sd35": 4.5,
    "flux": 1.0,
    "flux2_klein": 1.0,
    "flux2_klein_9b": 1.0,
    "qwen_image": 4.0,
    "z_image": 1.0,
}
"""Guidance that an architecture is usually run with; 1, none, where it is distilled into the
weights. Of the scale itself only whether it is 1 changes the cost."""

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
    nfe = function_evaluations(sampler, steps)
    calls = model_calls(sampler, cfg)
    if convention == "exact":
        work = run_work(
            architecture,
            width_px,
            height_px,
            nfe=nfe,
            calls=calls,
            batch_size=batch_size,
            text_tokens=text_tokens,
            context_rows=context_rows,
        )
        return FlopCount(work.text_encode.flops, work.denoise.flops, work.decode.flops, nfe)
    if convention != "paper":
        raise ValueError(f"no convention {convention!r}; there are exact and paper")
    formula = _formula(PAPER_FORMULAS, architecture, "the paper's convention")
    _check(width_px, height_px, batch_size, text_tokens)
    rows = formula.context_rows(text_tokens) if context_rows is None else context_rows
    return FlopCount(
        text_encode=calls * formula.text_encode(text_tokens),
        denoise=nfe * calls * batch_size * formula.evaluation(width_px, height_px, rows),
        decode=batch_size * formula.decode(width_px, height_px),
        nfe=nfe,
    )


def run_work(
    architecture: str,
    width_px: int,
    height_px: int,
    *,
    nfe: int,
    calls: int = 1,
    batch_size: int = 1,
    text_tokens: int = DEFAULT_TEXT_TOKENS,
    context_rows: int | None = None,
    guidance: Guidance = "batched",
) -> RunWork:
    """The work of one run, exact convention; arguments as for :func:`flop_count`.

    ``nfe`` and ``calls`` are what :func:`function_evaluations` and :func:`model_calls` return, or
    what a run recorded.

    Raises:
        ValueError: as :func:`flop_count`.
    """
    formula = _formula(FORMULAS, architecture, "exact counts")
    _check(width_px, height_px, batch_size, text_tokens)
    rows = formula.context_rows(text_tokens) if context_rows is None else context_rows
    evaluation = formula.evaluation(width_px, height_px, rows)
    if guidance == "batched":
        denoise = nfe * evaluation.batched(batch_size * calls)
    else:
        denoise = nfe * calls * evaluation.batched(batch_size)
    return RunWork(
        text_encode=calls * formula.text_encode(text_tokens),
        denoise=denoise,
        decode=formula.decode(width_px, height_px).batched(batch_size),
    )


def _formula(
    formulas: Mapping[str, Formula[Cost]], architecture: str, purpose: str
) -> Formula[Cost]:
    name = ALIASES.get(architecture, architecture)
    if name not in formulas:
        raise ValueError(
            f"no formula for {architecture!r} in {purpose}; there are {', '.join(formulas)}"
        )
    return formulas[name]


def _check(width_px: int, height_px: int, batch_size: int, text_tokens: int) -> None:
    for name, value in (("width_px", width_px), ("height_px", height_px)):
        if value < PX_PER_LATENT or value % PX_PER_LATENT:
            raise ValueError(f"{name} must be a positive multiple of {PX_PER_LATENT}, got {value}")
    if batch_size < 1 or text_tokens < 0:
        raise ValueError(
            "batch_size must be at least 1 and text_tokens at least 0, got "
            f"{batch_size} and {text_tokens}"
        )
