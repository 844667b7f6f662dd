"""Which share of a denoiser's FLOPs a weight format can reach."""

from __future__ import annotations

from typing import NamedTuple

from . import ALIASES, DEFAULT_TEXT_TOKENS, FORMULAS

SIZE_PX = 1024


class FlopShares(NamedTuple):
    """Shares of the FLOPs of one evaluation, between 0 and 1.

    ``weights`` are those of matrix products with weights, which formats touch.
    """

    weights: float
    attention: float
    convolutions: float

    @property
    def gain_at_twice(self) -> float:
        """How many times as fast an evaluation is with the products of weights twice as fast."""
        return 1 / (1 - self.weights / 2)


def flop_shares(architecture: str, width_px: int = SIZE_PX, height_px: int = SIZE_PX) -> FlopShares:
    """The shares of one evaluation, were each FLOP to take as long.

    Raises:
        ValueError: an architecture that has no formula.
    """
    formula = FORMULAS.get(ALIASES.get(architecture, architecture))
    if formula is None:
        raise ValueError(f"no formula for {architecture!r}; there are {', '.join(FORMULAS)}")
    work = formula.evaluation(width_px, height_px, formula.context_rows(DEFAULT_TEXT_TOKENS))
    with_weights = work.matmul_flops - work.attention_flops
    parts = (with_weights, work.attention_flops, work.conv_flops)
    return FlopShares(*(part / work.flops for part in parts))


def share_note(architecture: str, width_px: int = SIZE_PX, height_px: int = SIZE_PX) -> str:
    """What a weight format touches of the FLOPs and what that can gain, in a sentence.

    Raises:
        ValueError: an architecture that has no formula.
    """
    shares = flop_shares(architecture, width_px, height_px)
    return (
        f"At {width_px} x {height_px} px {shares.weights:.0%} of the FLOPs of {architecture} are "
        f"products with the weights of matrices, which formats touch; {shares.attention:.0%} are "
        f"attention and {shares.convolutions:.0%} convolutions, which stay as they are. Were the "
        f"former twice as fast, an evaluation would be {shares.gain_at_twice:.2f} times as fast."
    )
