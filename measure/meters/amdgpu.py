"""What the amdgpu driver's files say of a board: memory, clock, temperature, power limit.

They are in bytes, hertz, thousandths of a degree and microwatts (kernel documentation, "GPU
Power/Thermal Controls and Monitoring").
"""

from __future__ import annotations

from pathlib import Path

from .base import DeviceStatus, MeterReadError
from .sysfs import optional_int, optional_text, read_int

SENTINEL_W = 0xFFFF
"""AMD's firmware answers 0xFFFF or 0xFFFFFFFF where it has no power."""


class AmdgpuFiles:
    """The files in one board's hwmon folder and in its device's folder."""

    def __init__(self, hwmon: Path) -> None:
        self._hwmon = hwmon
        vram = hwmon / "device/mem_info_vram_used"
        self._vram = vram if optional_int(vram) is not None else None

    @property
    def is_apu(self) -> bool:
        """Only APUs have the voltage of a northbridge; their power is that of CPU and GPU."""
        return optional_text(self._hwmon / "in1_label") == "vddnb"

    def vram_used_bytes(self) -> int | None:
        """Memory in use by all processes; ``None`` where the driver does not count it."""
        return None if self._vram is None else read_int(self._vram)

    def power_limit_w(self) -> float | None:
        """The cap in force."""
        cap_uw = optional_int(self._hwmon / "power1_cap")
        return cap_uw * 1e-6 if cap_uw else None

    def status(self) -> DeviceStatus:
        """Edge temperature, clock of the shaders, the cap."""
        milli_c = optional_int(self._hwmon / "temp1_input")
        sm_hz = optional_int(self._hwmon / "freq1_input")
        return DeviceStatus(
            temperature_c=None if milli_c is None else milli_c * 1e-3,
            sm_clock_hz=None if sm_hz is None else float(sm_hz),
            power_limit_w=self.power_limit_w(),
        )


def believable_w(power_w: float, source: str) -> float:
    """``power_w``, if a board that is switched on can draw it.

    Raises:
        MeterReadError: it is one of the values that stand for "not available".
    """
    if 0 < power_w < SENTINEL_W:
        return power_w
    raise MeterReadError(f"{source} answered {power_w:g} W, which stands for 'not available'")
