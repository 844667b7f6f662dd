"""A meter is not believed beyond what its board can do.

Drivers answer spikes of 42 kW, 0xFFFFFFFF, NaN, and counters that jump by megajoules, and nothing
in the answer says so. What cannot be is an error, never a number: the span that it touches is blank
with the reason, and the next run opens the meter anew.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TypeVar

from ...errors import named
from ...records import PowerSample
from .base import DeviceStatus, Meter, MeterReadError

T = TypeVar("T")
N = TypeVar("N", int, float)

HEADROOM = 3.0
"""A board may draw more than its limit for a moment, and its limit may have been lowered just now;
more than so many times the highest limit that it has, it does not."""

NO_LIMIT_W = 10_000.0
"""No board draws as much; for meters that tell no limit."""

REFRESH_S = 0.1
"""A counter may be refreshed so much late, and catch up at once."""

LONGEST_TICK_S = 1.0
"""The tick in which a counter is first read may have begun so long before."""

WATCHED_S = 1.0
"""A counter is also held to what it gains over this long: of a step alone the allowance for a late
refresh hides that it runs ten times too fast."""

MOST_BYTES = 2**50

STILL_S = 0.5
"""Power that has not changed by the last digit over so much work and so much rest stands still."""


class PlausibleMeter(Meter):
    """``meter``, whose impossible answers raise :class:`.base.MeterReadError`.

    Once a counter has jumped it stays refused, because a difference across that is a wrong number.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.name, self.scope, self.provenance = meter.name, meter.scope, meter.provenance
        self.note, self.is_computed = meter.note, meter.is_computed
        self.energy_resolution_j = meter.energy_resolution_j
        self.poll_period_s, self.memory = meter.poll_period_s, meter.memory
        self._ceiling_w: float | None = None
        self._lock = threading.Lock()
        self._last_j = math.nan
        # When the counter was last seen to have the value before its present one.
        self._before_s = self._read_s = 0.0
        # A value that it went to, and when it was last seen to have the one before that.
        self._since_j, self._since_s = math.nan, 0.0
        self._fault = ""
        self._told: set[str] = set()

    def read_energy_j(self) -> float | None:
        with self._lock:
            if self._fault:
                raise MeterReadError(self._fault)
            energy_j = self._answer(self._meter.read_energy_j, "energy")
            if energy_j is None:
                return None
            now_s = time.perf_counter()
            if energy_j != self._last_j:
                self._fault = self._fault_of(energy_j, now_s)
                if self._fault:
                    raise MeterReadError(self._fault)
                if self._read_s and not now_s - self._since_s < WATCHED_S:
                    self._since_j, self._since_s = energy_j, self._read_s
                self._before_s, self._last_j = self._read_s or now_s - LONGEST_TICK_S, energy_j
            self._read_s = now_s
            return energy_j

    def _fault_of(self, energy_j: float, now_s: float) -> str:
        if not math.isfinite(energy_j):
            return f"the energy counter of {self.name} answered {energy_j}, which is no energy"
        for from_j, from_s in ((self._last_j, self._before_s), (self._since_j, self._since_s)):
            gained_j, span_s = energy_j - from_j, now_s - from_s + REFRESH_S
            if not math.isnan(gained_j) and self._exceeds(gained_j / span_s):
                return (
                    f"the energy counter of {self.name} rose by {gained_j:.4g} J within "
                    f"{span_s:.3g} s, which would be {gained_j / span_s:.4g} W, more than "
                    f"{self._bound()}. Run again"
                )
        return ""

    def read_power_w(self) -> float | None:
        power_w = self._answer(self._meter.read_power_w, "power")
        if power_w is None:
            return None
        if not math.isfinite(power_w) or power_w < 0:
            raise MeterReadError(f"{self.name} answered {power_w} W, which is no power")
        if self._exceeds(power_w):
            raise MeterReadError(f"{self.name} answered {power_w:.4g} W, more than {self._bound()}")
        return power_w

    def read_vram_bytes(self) -> int | None:
        used_bytes = self._answer(self._meter.read_vram_bytes, "memory")
        if used_bytes is not None and not 0 <= used_bytes < MOST_BYTES:
            raise MeterReadError(f"{self.name} answered {used_bytes} bytes in use")
        return used_bytes

    def vram_total_bytes(self) -> int | None:
        total_bytes = self._answer(self._meter.vram_total_bytes)
        return total_bytes if total_bytes and 0 < total_bytes < MOST_BYTES else None

    def power_limit_w(self) -> float | None:
        return _known(self._answer(self._meter.power_limit_w))

    def highest_limit_w(self) -> float | None:
        return _known(self._answer(self._meter.highest_limit_w))

    def default_limit_w(self) -> float | None:
        return _known(self._answer(self._meter.default_limit_w))

    def read_status(self) -> DeviceStatus:
        status = self._guarded(self._meter.read_status)
        unknown = {
            field.name: None
            for field in fields(status)
            if isinstance(value := getattr(status, field.name), float) and not math.isfinite(value)
        }
        if status.gpu_utilisation is not None and not 0 <= status.gpu_utilisation <= 1:
            unknown["gpu_utilisation"] = None
        return replace(status, **unknown) if unknown else status  # type: ignore[arg-type]

    def close(self) -> None:
        self._meter.close()

    def _guarded(self, read: Callable[[], T]) -> T:
        """What ``read`` answers; every way in which a vendor's library fails is a failed read."""
        try:
            return read()
        except MeterReadError:
            raise
        except Exception as error:
            raise MeterReadError(f"{self.name} failed: {named(error)}") from error

    def _answer(self, read: Callable[[], N | None], channel: str = "") -> N | None:
        """A number, or ``None`` on a channel that has never told one."""
        value = self._guarded(read)
        if value is None:
            if channel in self._told:
                raise MeterReadError(f"{self.name} no longer tells its {channel}")
        elif not isinstance(value, (int, float)):
            raise MeterReadError(f"{self.name} answered no number but {type(value).__name__}")
        elif channel:
            self._told.add(channel)
        return value

    def _exceeds(self, power_w: float) -> bool:
        """Limits are asked for only where it matters, because they may have been changed."""
        if self._ceiling_w is not None and power_w <= self._ceiling_w:
            return False
        limits = [w for w in (self.power_limit_w(), self.highest_limit_w()) if w]
        self._limit_w = max(limits, default=None)
        self._ceiling_w = NO_LIMIT_W if self._limit_w is None else HEADROOM * self._limit_w
        return power_w > self._ceiling_w

    def _bound(self) -> str:
        if self._limit_w is None:
            return f"any board draws ({NO_LIMIT_W:g} W)"
        return f"{HEADROOM:g} times the board's highest limit of {self._limit_w:g} W"


class StillPower:
    """Watches whether power changes between work and rest.

    A sensor that shows the same to the last digit in both does not measure: firmware was seen to
    answer 434.4 W for ever. A counter is not concerned.
    """

    def __init__(self) -> None:
        self._power_w: float | None = None
        self._seen_s = {"work": 0.0, "rest": 0.0}

    def see(self, power: Sequence[PowerSample], is_work: bool) -> None:
        """Take note of what was read while the board worked, or rested."""
        for index, sample in enumerate(power):
            if sample.power_w != self._power_w:
                self._power_w = sample.power_w
                self._seen_s = {"work": 0.0, "rest": 0.0}
            elif index:
                held_s = sample.t_s - power[index - 1].t_s
                self._seen_s["work" if is_work else "rest"] += held_s

    @property
    def fault(self) -> str:
        """Why the power is not believed; empty where it is."""
        if min(self._seen_s.values()) < STILL_S:
            return ""
        return (
            f"its power has stood at {self._power_w:.6g} W, to the last digit, through "
            f"{self._seen_s['work']:.1f} s of work and {self._seen_s['rest']:.1f} s of rest: the "
            "sensor does not measure"
        )


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None
