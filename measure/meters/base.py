"""What a meter is: a source that says what it offers here, and opens as a thing to read.

To add one, write a :class:`MeterSource` in a file of its own and put it into ``METERS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ...offer import Offer
from ...records import Scope

Provenance = Literal["measured", "estimated", "simulated"]


@dataclass(frozen=True)
class DeviceId:
    """The device a model runs on, in terms that a vendor's library understands too.

    ``kind`` is torch's device type (``cuda`` for ROCm as well). Order is no identity: torch and
    vendor libraries number devices differently, so ``uuid`` and ``pci_bus_id`` do the matching.
    """

    kind: str
    index: int = 0
    name: str = ""
    uuid: str = ""
    pci_bus_id: str = ""


class PcieLink(NamedTuple):
    """A board's link to the machine: its generation, and how many lanes."""

    generation: int
    lane_count: int


@dataclass(frozen=True)
class DeviceStatus:
    """The state of a board at one moment; ``None`` where the source does not say.

    ``throttle_reasons`` names what holds the clocks down now (``()``: nothing does).
    ``other_process_count`` counts processes that use the board besides this one.
    ``display_active`` is true where the board draws a screen. ``gpu_utilisation`` is the share of
    the last second or less in which a kernel ran, ``pcie_link`` the link as it is now: boards slow
    it down while they rest.
    """

    temperature_c: float | None = None
    sm_clock_hz: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    display_active: bool | None = None
    other_process_count: int | None = None
    power_limit_w: float | None = None
    gpu_utilisation: float | None = None
    pcie_link: PcieLink | None = None


class MeterUnavailableError(RuntimeError):
    """The meter that was asked for does not exist here; the message says why and what to do."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy


class MeterReadError(RuntimeError):
    """A meter stopped answering. The span it left uncovered has no energy, never 0 J."""


class Meter(ABC):
    """An opened meter. A read returns a value, or ``None`` where the meter has no such channel.

    Reads raise :class:`MeterReadError` when a channel that exists fails. They may be called from
    several threads at once, and may not block for longer than a few milliseconds.
    """

    name: str
    """As ``wattbench doctor`` lists it, for example ``nvml:0``."""
    scope: Scope
    provenance: Provenance = "measured"
    note: str = ""
    """What a reader of the numbers must know, for example the power that an estimate assumes."""
    energy_resolution_j: float | None = None
    """The energy counter's step in joules, where the source states one.

    It is the unit the counter is given in; a counter may tick far more coarsely than that, so the
    ticks have to be observed.
    """
    is_computed: bool = False
    """True where the counter is worked out when it is read: it does not tick, and a value that
    stands still says that nothing was used."""
    memory: str = "whole device"
    """What :meth:`read_vram_bytes` covers."""
    poll_period_s: float = 0.01
    """How often reading makes sense."""

    def read_energy_j(self) -> float | None:
        """The counter, in joules since an origin of its own. It never runs backwards."""
        return None

    def read_power_w(self) -> float | None:
        """Power now, in watts, as recent as the source can give."""
        return None

    def read_vram_bytes(self) -> int | None:
        """Bytes in use on the whole device, by every process."""
        return None

    def vram_total_bytes(self) -> int | None:
        """What :meth:`read_vram_bytes` is a part of."""
        return None

    def power_limit_w(self) -> float | None:
        """The board's power limit in force."""
        return None

    def highest_limit_w(self) -> float | None:
        """The highest power limit that the board can be given, or its default one."""
        return None

    def default_limit_w(self) -> float | None:
        """The power limit that the board has where nobody set another."""
        return None

    def read_status(self) -> DeviceStatus:
        """Temperature, clocks and whatever else can disturb a measurement. Never raises."""
        return DeviceStatus()

    @abstractmethod
    def close(self) -> None:
        """Release the source; closing twice does nothing. Reading afterwards is an error."""


class MeterSource(ABC):
    """One way to read energy: a vendor library, a file tree, a model, a recording."""

    key: str
    """The part of a meter's name before the colon."""
    opt_in: bool = False
    """True where ``auto`` must not choose it: an estimate or a recording is no measurement."""

    @abstractmethod
    def probe(self) -> list[Offer]:
        """What this source offers on this machine; a refusal too is an offer. Never raises.

        May take up to a second for each device, where a sensor has to be watched to be believed.
        """

    @abstractmethod
    def open(self, selector: str) -> Meter:
        """Open the meter ``key:selector``.

        Raises:
            MeterUnavailableError: with the reason and the remedy.
        """

    def match(self, device: DeviceId) -> str | None:
        """The selector of the meter that covers ``device``, or ``None``. Never raises."""
        return None

    def _offer(self, selector: str, label: str) -> Offer:
        """The meter ``key:selector`` as it answers when it is opened."""
        name = f"{self.key}:{selector}"
        try:
            meter = self.open(selector)
        except MeterUnavailableError as error:
            return Offer(name, label, False, error.reason, error.remedy)
        meter.close()
        return Offer(name, f"{label}; {meter.note}", True)


def refusal_of(read: Callable[[], object]) -> str:
    """Why a channel cannot be read; empty where it can."""
    try:
        read()
    except MeterReadError as error:
        return str(error)
    return ""
