"""When does a new card pay for the carbon of making it?

A card that is replaced would otherwise have gone on working: its own making is spent and does not
count, and it is disposed of in either case. Use is what differs: grams of CO2e a day, from joules
an image. Assumed: the images a day and the grid stay as they are, both cards idle alike, and
nothing else of the computer changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .cost import emissions_g


@dataclass(frozen=True)
class Range:
    """A value and between what it may lie; the ends equal the value where nothing is given.

    Raises:
        ValueError: the ends do not enclose the value, or one is negative or no number.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.value <= self.high and math.isfinite(self.high)):
            raise ValueError(
                f"a value with its low and high end is needed, none negative, got {self.value:g} "
                f"({self.low:g} to {self.high:g})"
            )

    def plus(self, other: Range) -> Range:
        """The sum, from the sum of the low ends to that of the high ones."""
        return Range(self.value + other.value, self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class BreakEven:
    """Days until the new card has saved its making; ``None`` is never.

    ``soonest`` and ``latest`` take every range at its most and least favourable end, so they are
    bounds and no confidence interval. ``saved_g_per_day`` may be negative.
    """

    days: float | None
    soonest: float | None
    latest: float | None
    saved_g_per_day: float


def break_even(
    embodied_kg: Range,
    images_per_day: float,
    old_j_per_img: Range,
    new_j_per_img: Range,
    grid_intensity_g_per_kwh: float,
) -> BreakEven:
    """Days after which replacing the old card has emitted less than keeping it.

    Raises:
        ValueError: a rate or an intensity that is negative or no number.
    """
    if not (math.isfinite(images_per_day) and images_per_day >= 0):
        raise ValueError(f"images per day must be 0 or more, got {images_per_day}")

    def saved_g(old_j: float, new_j: float) -> float:
        return images_per_day * emissions_g(old_j - new_j, grid_intensity_g_per_kwh)

    def days(embodied: float, saved: float) -> float | None:
        return 1000 * embodied / saved if saved > 0 else None

    likely = saved_g(old_j_per_img.value, new_j_per_img.value)
    return BreakEven(
        days=days(embodied_kg.value, likely),
        soonest=days(embodied_kg.low, saved_g(old_j_per_img.high, new_j_per_img.low)),
        latest=days(embodied_kg.high, saved_g(old_j_per_img.low, new_j_per_img.high)),
        saved_g_per_day=likely,
    )
