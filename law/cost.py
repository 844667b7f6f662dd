"""What energy costs: greenhouse gas and money, from figures that the user enters.

There are no tables of grids or tariffs here: both change by place and hour.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

JOULES_PER_WH = 3600.0
JOULES_PER_KWH = 3.6e6


def emissions_g(energy_j: float, grid_intensity_g_per_kwh: float) -> float:
    """Grams of CO2 equivalent of ``energy_j`` from a grid of that intensity (g CO2e per kWh).

    Raises:
        ValueError: an intensity that is negative or no number.
    """
    _check("grid intensity", grid_intensity_g_per_kwh)
    return energy_j / JOULES_PER_KWH * grid_intensity_g_per_kwh


def price(energy_j: float, price_per_kwh: float) -> float:
    """Price of ``energy_j``, in the currency of ``price_per_kwh``.

    Raises:
        ValueError: a price that is negative or no number.
    """
    _check("price", price_per_kwh)
    return energy_j / JOULES_PER_KWH * price_per_kwh


def _check(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} per kWh must be 0 or more, got {value}")


@dataclass(frozen=True)
class Tariff:
    """What a kWh costs where the user is; ``None`` where they did not say.

    Raises:
        ValueError: a value that is negative or no number, or a currency that is no short word.
    """

    grid_intensity_g_per_kwh: float | None = None
    price_per_kwh: float | None = None
    currency: str = "EUR"

    def __post_init__(self) -> None:
        for name, value in (
            ("grid intensity", self.grid_intensity_g_per_kwh),
            ("price", self.price_per_kwh),
        ):
            if value is not None:
                _check(name, value)
        # The name is shown in a web page.
        if not re.fullmatch(r"[^\s<>&\"']{1,8}", self.currency):
            raise ValueError(f"currency must be a short word like EUR, got {self.currency!r}")

    def costs(self, energy_j: float) -> dict[str, float]:
        """``g CO2e`` and the currency, whichever is known, to the amount for ``energy_j``."""
        found = {}
        if self.grid_intensity_g_per_kwh is not None:
            found["g CO2e"] = emissions_g(energy_j, self.grid_intensity_g_per_kwh)
        if self.price_per_kwh is not None:
            found[self.currency] = price(energy_j, self.price_per_kwh)
        return found
