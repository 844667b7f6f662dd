"""GPU power and energy from the Linux kernel's hwmon files: AMD (amdgpu), Intel (i915, xe).

amdgpu gives power in microwatts: ``power1_input`` (now; kernel 6.6 or later) or ``power1_average``
(smoothed by the firmware). i915 and xe give an energy counter in microjoules, which the driver
already unwraps. Every user may read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .amdgpu import APU_MEMORY, AmdgpuFiles, believable_w
from .base import (
    DeviceId,
    DeviceStatus,
    Meter,
    MeterReadError,
    MeterSource,
    MeterUnavailableError,
    Offer,
    refusal_of,
)
from .counter import MonotonicCounter
from .identity import is_same_board, pci_key
from .sysfs import SYSFS, HwmonBoard, hwmon_boards, optional_int, optional_text, read_int

POWER_FILES: Mapping[str, str] = {
    "power1_input": "power1_input: power now; whole watts on some boards",
    "power1_average": "power1_average: smoothed by the firmware, so short phases are blurred",
}
ENERGY_FILES = ("energy1_input", "energy2_input")
"""Of the card; else of the GPU's package, without the board's memory and losses."""

APU = f"an APU: power is that of CPU and GPU, VRAM is {APU_MEMORY}"

DRIVERS = ("amdgpu", "i915", "xe")
_NO_BOARD = "an AMD or Intel GPU needs Linux and its kernel driver (amdgpu, i915 or xe)"
_NO_SENSOR = "a newer kernel may have the sensor: 6.6 for AMD, 6.2 (i915) or 6.8 (xe) for Intel"


class AmdgpuMeter(Meter):
    """Power of an AMD board; it has no counter here, so energy is integrated from power."""

    poll_period_s = 0.02

    def __init__(self, board: HwmonBoard) -> None:
        """Raises:
        MeterUnavailableError: neither file gives a power.
        """
        self.name = f"hwmon:{board.pci_bus_id}"
        self._board = board
        self._files = AmdgpuFiles(board.hwmon)
        self.scope = "package" if self._files.is_apu else "gpu"
        self.memory = self._files.memory
        refusals = []
        for file, remark in POWER_FILES.items():
            self._power = board.hwmon / file
            refusals.append(refusal_of(self.read_power_w))
            if not refusals[-1]:
                self.note = f"{remark}; {APU}" if self._files.is_apu else remark
                return
        raise MeterUnavailableError(", ".join(refusals), _NO_SENSOR)

    def read_power_w(self) -> float:
        self._board.check()
        return believable_w(read_int(self._power) * 1e-6, str(self._power))

    def read_vram_bytes(self) -> int | None:
        self._board.check()
        return self._files.vram_used_bytes()

    def vram_total_bytes(self) -> int | None:
        return self._files.vram_total_bytes()

    def power_limit_w(self) -> float | None:
        return self._files.power_limit_w()

    def highest_limit_w(self) -> float | None:
        return self._files.highest_limit_w()

    def default_limit_w(self) -> float | None:
        return self._files.default_limit_w()

    def read_status(self) -> DeviceStatus:
        return self._files.status()

    def close(self) -> None:
        """Nothing is held."""


class IntelGpuMeter(Meter):
    """The energy counter of an Intel GPU."""

    def __init__(self, board: HwmonBoard) -> None:
        """Raises:
        MeterUnavailableError: the driver counts no energy of this GPU.
        """
        self.name = f"hwmon:{board.pci_bus_id}"
        files = [board.hwmon / file for file in ENERGY_FILES]
        self._energy = next((file for file in files if optional_int(file)), files[0])
        label = optional_text(board.hwmon / self._energy.name.replace("input", "label"))
        self.scope = "module" if label == "pkg" else "gpu"
        self.note = f"{self._energy.name} of {board.driver}{f' ({label})' if label else ''}"
        self.energy_resolution_j = 1e-6
        self._board = board
        self._counter = MonotonicCounter(self.name, lambda: read_int(self._energy) * 1e-6)
        try:
            energy_j = self.read_energy_j()
        except MeterReadError as error:
            raise MeterUnavailableError(str(error), _NO_SENSOR) from error
        if energy_j == 0:
            raise MeterUnavailableError(f"{self._energy} stands at 0 µJ", _NO_SENSOR)

    def read_energy_j(self) -> float:
        self._board.check()
        return self._counter.read()

    def power_limit_w(self) -> float | None:
        return self._limit_w("power1_max")

    def default_limit_w(self) -> float | None:
        return self._limit_w("power1_rated_max")

    def _limit_w(self, file: str) -> float | None:
        limit_uw = optional_int(self._board.hwmon / file)
        return limit_uw * 1e-6 if limit_uw else None

    def read_status(self) -> DeviceStatus:
        return DeviceStatus(power_limit_w=self.power_limit_w())

    def close(self) -> None:
        """Nothing is held."""


class HwmonSource(MeterSource):
    """``hwmon:`` and the board's PCI address, which outlives a restart."""

    key = "hwmon"

    def __init__(self, sysfs: Path = SYSFS) -> None:
        self._sysfs = sysfs

    def probe(self) -> list[Offer]:
        boards = hwmon_boards(self._sysfs, DRIVERS)
        if not boards:
            reason = "the kernel lists no such GPU"
            return [Offer(self.key, "AMD or Intel GPU", False, reason, _NO_BOARD)]
        return [self._offer(board.pci_bus_id, f"{board.driver} GPU") for board in boards]

    def open(self, selector: str) -> Meter:
        boards = hwmon_boards(self._sysfs, DRIVERS)
        if not boards:
            raise MeterUnavailableError("the kernel lists no AMD or Intel GPU in hwmon", _NO_BOARD)
        key = pci_key(selector)
        for board in boards:
            if key is not None and pci_key(board.pci_bus_id) == key:
                return AmdgpuMeter(board) if board.driver == "amdgpu" else IntelGpuMeter(board)
        names = ", ".join(f"hwmon:{board.pci_bus_id}" for board in boards)
        raise MeterUnavailableError(f"there is no hwmon:{selector}", f"this machine has {names}")

    def match(self, device: DeviceId) -> str | None:
        for board in hwmon_boards(self._sysfs, DRIVERS):
            if is_same_board(device, board.unique_id, board.pci_bus_id):
                return board.pci_bus_id
        return None
