"""The meters, in order of trust."""

from .base import (
    DeviceId,
    Meter,
    MeterReadError,
    MeterSource,
    MeterUnavailableError,
    Offer,
)

__all__ = [
    "DeviceId",
    "Meter",
    "MeterReadError",
    "MeterSource",
    "MeterUnavailableError",
    "Offer",
]
