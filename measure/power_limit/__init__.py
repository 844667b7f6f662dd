"""Boards' power limits: reading them, and setting them with an administrator's rights."""

from __future__ import annotations

from collections.abc import Sequence

from ...offer import Offer
from .amdgpu import AmdgpuPowerLimits
from .base import LimitRange, PowerLimit, PowerLimitError, PowerLimitSource
from .nvml import NvmlPowerLimits

__all__ = [
    "LIMITS",
    "LimitRange",
    "PowerLimit",
    "PowerLimitError",
    "PowerLimitSource",
    "open_limit",
    "probe_limits",
]

LIMITS: tuple[PowerLimitSource, ...] = (NvmlPowerLimits(), AmdgpuPowerLimits())
"""Every source of limits."""


def probe_limits(sources: Sequence[PowerLimitSource] = LIMITS) -> list[Offer]:
    """The boards whose limit can be read, and for the rest why it cannot. Changes nothing."""
    return [offer for source in sources for offer in source.probe()]


def open_limit(name: str, sources: Sequence[PowerLimitSource] = LIMITS) -> PowerLimit:
    """The limit of the board ``name``, such as ``nvml:0``; ``auto`` is the only board there is.

    Raises:
        PowerLimitError: no such board, it tells no limit, or ``auto`` where there are several.
    """
    if name == "auto":
        name = _only_board(sources)
    key, _, selector = name.partition(":")
    for source in sources:
        if source.key == key:
            return source.open(selector)
    keys = ", ".join(f"{source.key}:…" for source in sources)
    raise PowerLimitError(f"there is no board {name!r}", f"names are {keys}, as doctor lists them")


def _only_board(sources: Sequence[PowerLimitSource]) -> str:
    offers = probe_limits(sources)
    found = [offer.name for offer in offers if offer.available]
    if len(found) == 1:
        return found[0]
    if found:
        raise PowerLimitError(
            f"{len(found)} boards have a power limit: {', '.join(found)}", "name one with --gpu"
        )
    reasons = "; ".join(f"{offer.name}: {offer.reason}" for offer in offers)
    raise PowerLimitError(f"no board here has a power limit that can be read ({reasons})")
