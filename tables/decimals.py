"""Numbers as people read them: without an exponent, with the figures that they deserve."""

from __future__ import annotations

import math

WHOLE, ONE_FIGURE = 10.0, 3.55
"""A half width of so much or more is rounded before the decimal point: to two figures, or to one
where it begins with so much or more (the rule of the Particle Data Group)."""

ROUNDING = 1e-9
"""A spread below this part of the mean is none."""


def in_figures(value: float, figures: int) -> str:
    """``value`` with so many significant figures: 12345 in three is ``12300``."""
    if value == 0:
        return "0"
    decimals = _decimals(abs(value), figures)
    return f"{round(value, decimals):.{max(0, decimals)}f}"


def with_half_width(mean: float, half: float) -> str:
    """``1.50 ± 0.12``: an interval with two figures; a mean alone with four where ``half`` is NaN.

    From 10 on an interval has two figures up to 35 and one above, so ``46000 ± 9000``: figures that
    it makes meaningless are zeros. Without an interval figures before the decimal point all stand.
    """
    decimals = decimals_for(mean, 0.0 if math.isnan(half) else half)
    if half >= WHOLE:
        tens = math.floor(math.log10(half))
        places = tens - 1 if half / 10**tens < ONE_FIGURE else tens
        mean, half = round(mean, -places), round(half, -places)
    spread = "" if math.isnan(half) else f" ± {half:.{decimals}f}"
    return f"{mean:.{decimals}f}{spread}"


def decimals_for(mean: float, half: float) -> int:
    """Decimals that show the interval with two figures, or the mean with four if it has none.

    Equal values have none, but for the last bits of their arithmetic.
    """
    scale, figures = (half, 2) if half > ROUNDING * abs(mean) else (abs(mean), 4)
    if scale == 0:
        return 0
    return max(0, _decimals(scale, figures))


def _decimals(value: float, figures: int) -> int:
    """After which its rounding to so many figures ends; 0.996 in two is 1.0, and not 1.00."""
    decimals = figures - 1 - math.floor(math.log10(value))
    return decimals - (round(value, decimals) >= 10 ** (figures - decimals))
