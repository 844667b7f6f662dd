"""What the amdgpu driver's files say of a board: memory, clock, temperature, power limit.

An APU has no memory of its own: what its GPU uses is a part that the firmware carved out of main
memory (VRAM) and, beyond that, main memory itself (GTT). Both together are its memory.

They are in bytes, hertz, thousandths of a degree and microwatts (kernel documentation, "GPU
Power/Thermal Controls and Monitoring").
"""

from __future__ import annotations

import re
from pathlib import Path

from .base import DeviceStatus, MeterReadError, PcieLink
from .sysfs import optional_int, optional_text, read_int

SENTINEL_W = 0xFFFF
"""AMD's firmware answers 0xFFFF or 0xFFFFFFFF where it has no power."""

PCIE_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
"""By gigatransfers a second on a lane."""

PCIE_LEVEL = re.compile(r"\d+: ([\d.]+)GT/s, x(\d+) .*\*")
"""The level in force in ``pp_dpm_pcie``: ``1: 16.0GT/s, x16 1150Mhz *``."""

APU_MEMORY = "carve-out + GTT (main memory)"


class AmdgpuFiles:
    """The files in one board's hwmon folder and in its device's folder."""

    def __init__(self, hwmon: Path) -> None:
        self._hwmon = hwmon
        self.is_apu = optional_text(hwmon / "in1_label") == "vddnb"
        """Only APUs have the voltage of a northbridge; their power is that of CPU and GPU."""
        self.memory = APU_MEMORY if self.is_apu else "whole device"
        pools = ("vram", "gtt") if self.is_apu else ("vram",)
        self._used = [hwmon / f"device/mem_info_{pool}_used" for pool in pools]
        if any(optional_int(used) is None for used in self._used):
            self._used = []

    def vram_used_bytes(self) -> int | None:
        """Memory in use by all processes; ``None`` where the driver does not count it."""
        return sum(map(read_int, self._used)) if self._used else None

    def vram_total_bytes(self) -> int | None:
        """Of which that is a part; ``None`` where the driver does not tell."""
        totals = [
            optional_int(used.with_name(used.name.replace("used", "total"))) for used in self._used
        ]
        return sum(filter(None, totals)) if totals and None not in totals else None

    def highest_limit_w(self) -> float | None:
        """The highest cap that can be set."""
        cap_uw = optional_int(self._hwmon / "power1_cap_max")
        return cap_uw * 1e-6 if cap_uw else None

    def default_limit_w(self) -> float | None:
        """The cap that the board comes with."""
        cap_uw = optional_int(self._hwmon / "power1_cap_default")
        return cap_uw * 1e-6 if cap_uw else None

    def power_limit_w(self) -> float | None:
        """The cap in force."""
        cap_uw = optional_int(self._hwmon / "power1_cap")
        return cap_uw * 1e-6 if cap_uw else None

    def status(self) -> DeviceStatus:
        """Edge temperature, clock of the shaders, the cap, how busy it is, its link.

        The link is what the firmware says of the slot's; that of the PCI device is one within the
        board.
        """
        milli_c = optional_int(self._hwmon / "temp1_input")
        sm_hz = optional_int(self._hwmon / "freq1_input")
        busy_percent = optional_int(self._hwmon / "device/gpu_busy_percent")
        level = PCIE_LEVEL.search(optional_text(self._hwmon / "device/pp_dpm_pcie"))
        generation = PCIE_GENERATIONS.get(float(level[1])) if level else None
        return DeviceStatus(
            temperature_c=None if milli_c is None else milli_c * 1e-3,
            sm_clock_hz=None if sm_hz is None else float(sm_hz),
            power_limit_w=self.power_limit_w(),
            gpu_utilisation=None if busy_percent is None else busy_percent * 1e-2,
            pcie_link=PcieLink(generation, int(level[2])) if level and generation else None,
        )


def believable_w(power_w: float, source: str) -> float:
    """``power_w``, if a board that is switched on can draw it.

    Raises:
        MeterReadError: it is one of the values that stand for "not available".
    """
    if 0 < power_w < SENTINEL_W:
        return power_w
    raise MeterReadError(f"{source} answered {power_w:g} W, which stands for 'not available'")
