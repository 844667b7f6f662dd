"""CPU packages and their memory, through Linux's powercap files for RAPL (Intel, AMD since Zen).

``energy_uj`` counts microjoules and starts again at 0 after ``max_energy_range_uj`` (kernel
documentation, "Power Capping Framework"). Since 2020 only root may read it by default, because
its fine resolution leaks secrets to other users (CVE-2020-8694).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .base import DeviceId, Meter, MeterReadError, MeterSource, MeterUnavailableError, Offer
from .counter import WrappingCounter
from .sysfs import SYSFS, optional_int, optional_text, read_int

MOST_W = 1000.0
"""More than one package can draw."""

HEADROOM = 1.5
"""A package may go beyond its limits for a while, by no more than this factor."""

DESCRIPTIONS: Mapping[str, str] = {
    "package": "energy of all CPU packages: cores, caches, built-in GPU",
    "dram": "energy of the memory of all CPU packages",
}
_NO_ZONE = (
    "RAPL needs Linux on an Intel CPU or an AMD Zen; most virtual machines and containers hide it "
    "(else: modprobe intel_rapl_msr)"
)
_NO_RIGHT = (
    "give your group the right to read it by the udev rule in docs/meters.md, or until the next "
    "start: sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
)


class RaplMeter(Meter):
    """The zones of one kind, summed over the packages."""

    def __init__(self, kind: str, zones: list[Path]) -> None:
        """Raises:
        MeterReadError: a zone cannot be read.
        """
        self.name = f"rapl:{kind}"
        self.scope = "package" if kind == "package" else "dram"
        self.note = f"the sum of {', '.join(zone.name for zone in zones)}"
        self.energy_resolution_j = 1e-6
        self._counters = [_counter(zone) for zone in zones]
        self.read_energy_j()

    def read_energy_j(self) -> float:
        """Joules since opening."""
        return sum(counter.read() for counter in self._counters)

    def close(self) -> None:
        """Nothing is held."""


class RaplSource(MeterSource):
    """``rapl:package`` and ``rapl:dram``."""

    key = "rapl"

    def __init__(self, sysfs: Path = SYSFS) -> None:
        self._sysfs = sysfs

    def probe(self) -> list[Offer]:
        offers = [self._offer(kind, DESCRIPTIONS[kind]) for kind in self._kinds()]
        reason = "the kernel lists no RAPL zone"
        return offers or [Offer(self.key, "CPU energy", False, reason, _NO_ZONE)]

    def open(self, selector: str) -> Meter:
        kinds = self._kinds()
        if not kinds:
            raise MeterUnavailableError("the kernel lists no RAPL zone", _NO_ZONE)
        if selector not in kinds:
            names = ", ".join(f"rapl:{kind}" for kind in kinds)
            raise MeterUnavailableError(f"there is no rapl:{selector}", f"this machine has {names}")
        try:
            return RaplMeter(selector, kinds[selector])
        except MeterReadError as error:
            is_forbidden = isinstance(error.__cause__, PermissionError)
            raise MeterUnavailableError(
                str(error), _NO_RIGHT if is_forbidden else _NO_ZONE
            ) from error

    def match(self, device: DeviceId) -> str | None:
        return "package" if device.kind == "cpu" and "package" in self._kinds() else None

    def _kinds(self) -> dict[str, list[Path]]:
        """Zones by kind. The same package's twin under ``intel-rapl-mmio`` is left out."""
        kinds: dict[str, list[Path]] = {}
        for zone in sorted((self._sysfs / "class/powercap").glob("intel-rapl:*")):
            kind = optional_text(zone / "name").partition("-")[0]
            if kind in DESCRIPTIONS:
                kinds.setdefault(kind, []).append(zone)
        return kinds


def _counter(zone: Path) -> WrappingCounter:
    """The zone's counter.

    Raises:
        MeterReadError: the zone does not say where it starts again.
    """
    range_uj = optional_int(zone / "max_energy_range_uj")
    if not range_uj or range_uj < 0:
        raise MeterReadError(f"{zone} gives no max_energy_range_uj, so its wraps are unknowable")
    energy = zone / "energy_uj"
    return WrappingCounter(
        str(zone), lambda: read_int(energy) * 1e-6, range_uj * 1e-6, most_power_w(zone)
    )


def most_power_w(zone: Path) -> float:
    """More than the zone draws: from its power limits, of which some boards set absurd ones."""
    files = [*zone.glob("constraint_*_power_limit_uw"), *zone.glob("constraint_*_max_power_uw")]
    limits_w = [limit_uw * 1e-6 for file in files if (limit_uw := optional_int(file))]
    return min(HEADROOM * max(limits_w, default=MOST_W), MOST_W)
