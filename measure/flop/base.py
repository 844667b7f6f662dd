"""What an architecture's count is made of, and what a count is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Formula:
    """The parts of an image model, as functions of integers that answer FLOPs.

    ``text_tokens`` are the tokens of the prompt itself, without what the model's tokenizer and
    template add. Two encoders of one model may cut the same prompt into slightly different numbers
    of tokens; one number stands for both. ``context_rows`` are the rows of the text conditioning
    that the denoiser is given.
    """

    context_rows: Callable[[int], int]
    """text_tokens -> context_rows."""
    text_encode: Callable[[int], int]
    """text_tokens -> encoding one prompt."""
    evaluation: Callable[[int, int, int], int]
    """width_px, height_px, context_rows -> one function evaluation on one latent."""
    decode: Callable[[int, int], int]
    """width_px, height_px -> decoding one latent."""


@dataclass(frozen=True)
class FlopCount:
    """FLOPs of one run (a whole batch), by phase. A multiply-add is 2.

    ``nfe`` is the number of function evaluations of the sampler; with guidance each of them runs
    the model twice, which is in ``denoise`` but not in ``nfe``.
    """

    text_encode: int
    denoise: int
    decode: int
    nfe: int

    @property
    def total(self) -> int:
        return self.text_encode + self.denoise + self.decode
