"""What energy and time cost: greenhouse gas and money, from figures that the user enters.

There are no tables of grids or tariffs here: both change by place and hour.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

JOULES_PER_WH = 3600.0
JOULES_PER_KWH = 3.6e6
SECONDS_PER_HOUR = 3600.0


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


def _check(name: str, value: float, per: str = "kWh") -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} per {per} must be 0 or more, got {value}")


@dataclass(frozen=True)
class Tariff:
    """What a kWh and an hour cost where the user is; ``None`` where they did not say.

    ``price_per_hour`` is that of the machine, rented or written off. ``pue`` is what the building
    draws for each watt of the machine.

    Raises:
        ValueError: a value that is negative or no number, a currency that is no short word, or a
            PUE below 1.
    """

    grid_intensity_g_per_kwh: float | None = None
    price_per_kwh: float | None = None
    currency: str = "EUR"
    price_per_hour: float | None = None
    pue: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (
            ("grid intensity", self.grid_intensity_g_per_kwh),
            ("price", self.price_per_kwh),
        ):
            if value is not None:
                _check(name, value)
        if self.price_per_hour is not None:
            _check("price", self.price_per_hour, "hour")
        if not 1 <= self.pue < math.inf:
            raise ValueError(f"PUE must be 1 or more, got {self.pue}")
        # The name is shown in a web page.
        if not re.fullmatch(r"[^\s<>&\"']{1,8}", self.currency):
            raise ValueError(f"currency must be a short word like EUR, got {self.currency!r}")

    def costs(self, energy_j: float, time_s: float | None = None) -> dict[str, float]:
        """``g CO2e`` and the currency, whichever is known, to the amount for ``energy_j``.

        With a price of hours and a time there are also the currency ``for time``, and ``in all``
        where both prices are known.
        """
        found, drawn_j = {}, energy_j * self.pue
        if self.grid_intensity_g_per_kwh is not None:
            found["g CO2e"] = emissions_g(drawn_j, self.grid_intensity_g_per_kwh)
        if self.price_per_kwh is not None:
            found[self.currency] = price(drawn_j, self.price_per_kwh)
        if self.price_per_hour is not None and time_s is not None:
            found[f"{self.currency} for time"] = self.price_per_hour * time_s / SECONDS_PER_HOUR
            if self.price_per_kwh is not None:
                both = found[self.currency] + found[f"{self.currency} for time"]
                found[f"{self.currency} in all"] = both
        return found
