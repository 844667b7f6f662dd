"""Which share of a denoiser's FLOPs a weight format can reach."""

from __future__ import annotations

from . import ALIASES, DEFAULT_TEXT_TOKENS, FORMULAS

SIZE_PX = 1024


def convolution_share(
    architecture: str, width_px: int = SIZE_PX, height_px: int = SIZE_PX
) -> float:
    """Share of the FLOPs of one evaluation that are convolutions, between 0 and 1.

    Raises:
        ValueError: an architecture that has no formula.
    """
    formula = FORMULAS.get(ALIASES.get(architecture, architecture))
    if formula is None:
        raise ValueError(f"no formula for {architecture!r}; there are {', '.join(FORMULAS)}")
    work = formula.evaluation(width_px, height_px, formula.context_rows(DEFAULT_TEXT_TOKENS))
    return work.conv_flops / work.flops


def share_note(architecture: str, width_px: int = SIZE_PX, height_px: int = SIZE_PX) -> str:
    """What the share of convolutions leaves a weight format to gain, in a sentence.

    Raises:
        ValueError: an architecture that has no formula.
    """
    share = convolution_share(architecture, width_px, height_px)
    text = (
        f"At {width_px} x {height_px} px {share:.0%} of the FLOPs of {architecture} are "
        "convolutions, which stay as they are"
    )
    if share < 0.01:
        return text + "."
    return (
        f"{text}: were matrix products and attention twice as fast, an evaluation would be "
        f"{1 / (share + (1 - share) / 2):.2f} times as fast; were they free, {1 / share:.2f} times."
    )
