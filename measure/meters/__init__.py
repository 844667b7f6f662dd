"""The meters, in order of trust, and the way from a name or a device to an opened one."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from .amdsmi import AmdSmiPowerSource, AmdSmiSource
from .apple import AppleSource
from .base import (
    DeviceId,
    DeviceStatus,
    Meter,
    MeterReadError,
    MeterSource,
    MeterUnavailableError,
    Offer,
)
from .bounded import OPEN_S, NoAnswerError, within
from .estimate import EstimateSource
from .hwmon import HwmonSource
from .nvml import NvmlSource
from .plausible import PlausibleMeter
from .rapl import RaplSource
from .replay import ReplaySource

__all__ = [
    "METERS",
    "METER_VARIABLE",
    "DeviceId",
    "DeviceStatus",
    "Meter",
    "MeterReadError",
    "MeterSource",
    "MeterUnavailableError",
    "Offer",
    "named_meters",
    "open_meter",
    "probe_all",
    "split_meters",
]

METER_VARIABLE = "WATTBENCH_METER"
"""The environment variable that says what ``auto`` means."""

METERS: tuple[MeterSource, ...] = (
    NvmlSource(),
    AmdSmiSource(),
    HwmonSource(),
    AmdSmiPowerSource(),
    RaplSource(),
    AppleSource(),
    EstimateSource(),
    ReplaySource(),
)
"""Every source; ``auto`` takes the first that covers the device and is no opt-in."""


def probe_all(sources: Sequence[MeterSource] = METERS) -> list[Offer]:
    """What each source offers on this machine, refusals with their reasons included."""
    return [offer for source in sources for offer in _probed(source)]


def split_meters(spec: str, sources: Sequence[MeterSource] = METERS) -> list[str]:
    """The parts of a list of meters, ``auto+rapl``. A recording's file may have a plus sign."""
    keys = "|".join(["auto", *(source.key for source in sources)])
    return re.split(rf"\s*\+\s*(?=(?:{keys})\s*(?:[:+]|$))", spec.strip())


def named_meters(spec: str, sources: Sequence[MeterSource] = METERS) -> list[str]:
    """The meters of a list, each by its own name, or ``auto`` for what :func:`open_meter` finds.

    WATTBENCH_METER may be a list, and then ``auto`` is one. ``rapl`` is all that RAPL counts here.
    """
    asked = split_meters(os.environ.get(METER_VARIABLE) or "auto", sources)
    whole = {source.key: source for source in sources if not source.opt_in}
    names: list[str] = []
    for part in split_meters(spec, sources):
        is_asked = part == "auto" and asked[0] not in whole
        parts = [part] if part != "auto" else ["auto", *asked[1:]] if is_asked else asked
        for name in parts:
            names += [offer.name for offer in whole[name].probe()] if name in whole else [name]
    return names


def open_meter(spec: str, device: DeviceId, sources: Sequence[MeterSource] = METERS) -> Meter:
    """Open the meter ``spec``: a name such as ``nvml:0``, or ``auto``.

    ``auto`` is what the environment variable WATTBENCH_METER says (of a list the first), else the
    most trusted meter that measures ``device``. It never chooses an estimate or a recording. An
    answer that its board cannot have given raises when it is read (:mod:`.plausible`).

    Raises:
        MeterUnavailableError: with the reason of every source, in one line: it becomes a note.
    """
    if spec == "auto":
        spec = split_meters(os.environ.get(METER_VARIABLE) or "auto", sources)[0]
    if spec == "auto":
        return _open_measured(device, sources)
    if len(split_meters(spec, sources)) > 1:
        raise MeterUnavailableError(f"{spec} is a list", "name one meter here")
    key, _, selector = spec.partition(":")
    for source in sources:
        if source.key == key:
            return PlausibleMeter(source.open(selector))
    names = ", ".join(offer.name for offer in probe_all(sources) if offer.available)
    raise MeterUnavailableError(f"there is no meter {spec!r}", f"this machine has: auto, {names}")


def _probed(source: MeterSource) -> list[Offer]:
    try:
        return within(OPEN_S, source.probe)
    except NoAnswerError as error:
        return [
            Offer(source.key, source.key, False, str(error), "restart its driver, or the machine")
        ]


def _open_measured(device: DeviceId, sources: Sequence[MeterSource]) -> Meter:
    reasons = []
    for source in sources:
        if source.opt_in:
            continue
        selector = source.match(device)
        if selector is None:
            reasons += [_why_not(offer, device) for offer in source.probe()]
            continue
        try:
            return PlausibleMeter(source.open(selector))
        except MeterUnavailableError as error:
            reasons.append(f"{source.key}:{selector} ({error.reason})")
    target = device.name or f"{device.kind}:{device.index}"
    raise MeterUnavailableError(
        f"no meter measures {target}. `wattbench doctor` says what to do about each, "
        f"{METER_VARIABLE}=estimate opts in to a labelled estimate. Tried: {', '.join(reasons)}"
    )


def _why_not(offer: Offer, device: DeviceId) -> str:
    if offer.available:
        what = offer.description.partition(";")[0]
        return f"{offer.name} (measures {what}, not {device.kind}:{device.index})"
    return f"{offer.name} ({offer.reason})"
