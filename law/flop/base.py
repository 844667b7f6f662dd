"""What an architecture's formula is, and what a count is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .primitives import Work

Cost = TypeVar("Cost", int, Work)


@dataclass(frozen=True)
class Formula(Generic[Cost]):
    """The parts of an image model, as functions of integers; FLOPs alone, or the whole work.

    ``text_tokens`` are the tokens of the prompt itself, without what the model's tokenizer and
    template add. Two encoders of one model may cut the same prompt into slightly different numbers
    of tokens; one number stands for both. ``context_rows`` are the rows of the text conditioning
    that the denoiser is given.
    """

    context_rows: Callable[[int], int]
    """text_tokens -> context_rows."""
    text_encode: Callable[[int], Cost]
    """text_tokens -> encoding one prompt."""
    evaluation: Callable[[int, int, int], Cost]
    """width_px, height_px, context_rows -> one pass of the denoiser over one latent."""
    decode: Callable[[int, int], Cost]
    """width_px, height_px -> decoding one latent."""
    px_per_cell: int = 8
    """Pixels of the picture's edge for a cell of the latent's."""


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


@dataclass(frozen=True)
class RunWork:
    """The work of one run (a whole batch), by phase."""

    text_encode: Work
    denoise: Work
    decode: Work

    @property
    def total(self) -> Work:
        return self.text_encode + self.denoise + self.decode
