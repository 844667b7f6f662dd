"""The power cap of AMD boards, through the amdgpu driver's hwmon files.

``power1_cap`` is in microwatts and takes whole watts; only root may write it (kernel documentation,
"GPU Power/Thermal Controls and Monitoring").
"""

from __future__ import annotations

import errno
from pathlib import Path

from ...offer import Offer
from ..meters import MeterReadError
from ..meters.identity import pci_key
from ..meters.sysfs import SYSFS, HwmonBoard, hwmon_boards, optional_int, read_int
from .base import RIGHTS, LimitRange, PowerLimit, PowerLimitError, PowerLimitSource

_NO_BOARD = "an AMD GPU needs Linux and its kernel driver amdgpu"


class AmdgpuPowerLimit(PowerLimit):
    """The limit of one board."""

    def __init__(self, board: HwmonBoard) -> None:
        """Raises:
        PowerLimitError: the driver gives the board no cap, as for an APU.
        """
        self.name = f"hwmon:{board.pci_bus_id}"
        self.label = f"AMD GPU at {board.pci_bus_id}"
        self.identity = board.pci_bus_id
        self._cap = board.hwmon / "power1_cap"
        default_uw = optional_int(board.hwmon / "power1_cap_default")
        try:
            self.allowed = LimitRange(
                read_int(board.hwmon / "power1_cap_min") * 1e-6,
                read_int(board.hwmon / "power1_cap_max") * 1e-6,
                None if default_uw is None else default_uw * 1e-6,
            )
        except MeterReadError as error:
            raise PowerLimitError(str(error), "this board has no power cap") from error

    def read_w(self) -> float:
        try:
            return read_int(self._cap) * 1e-6
        except MeterReadError as error:
            raise PowerLimitError(str(error)) from error

    def write_w(self, limit_w: float) -> None:
        try:
            self._cap.write_text(f"{round(limit_w) * 1_000_000}\n", encoding="ascii")
        except OSError as error:
            remedy = RIGHTS if error.errno in (errno.EACCES, errno.EPERM) else ""
            raise PowerLimitError(f"{self._cap}: {error.strerror}", remedy) from error

    def close(self) -> None:
        """Nothing is held."""


class AmdgpuPowerLimits(PowerLimitSource):
    """``hwmon:`` and the board's PCI address."""

    key = "hwmon"

    def __init__(self, sysfs: Path = SYSFS) -> None:
        self._sysfs = sysfs

    def probe(self) -> list[Offer]:
        boards = hwmon_boards(self._sysfs, ("amdgpu",))
        if not boards:
            return [Offer(self.key, "AMD GPU", False, "the kernel lists no such GPU", _NO_BOARD)]
        return [self._offer(board.pci_bus_id, f"AMD GPU at {board.pci_bus_id}") for board in boards]

    def open(self, selector: str) -> PowerLimit:
        boards = hwmon_boards(self._sysfs, ("amdgpu",))
        for board in boards:
            if pci_key(board.pci_bus_id) == pci_key(selector):
                return AmdgpuPowerLimit(board)
        names = ", ".join(f"{self.key}:{board.pci_bus_id}" for board in boards)
        remedy = f"this machine has {names}" if names else _NO_BOARD
        raise PowerLimitError(f"there is no {self.key}:{selector}", remedy)
