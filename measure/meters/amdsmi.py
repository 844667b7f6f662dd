"""AMD boards through the AMD SMI library of ROCm, where its numbers can be believed.

Its energy counter is an accumulator times a resolution in microjoules (15.259), its power is in
watts (AMD SMI Python API reference). The counter stands still on RDNA3 and later, freezes or runs
backwards on MI100 and MI210, and counts on the even die alone on MI250. So it is watched first,
and taken only if it advances as the power says.
"""

from __future__ import annotations

import ctypes
import importlib.util
import io
import os
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .amdgpu import AmdgpuFiles, believable_w
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
from .sysfs import SYSFS, hwmon_boards

WATCH_S = 0.5
WATCH_PERIOD_S = 0.02
AGREEMENT = 0.25
"""The counter's mean power may differ from the sensor's by this share, or by ``AGREEMENT_W``."""
AGREEMENT_W = 10.0

POWER_KEYS: Mapping[str, str] = {
    "current_socket_power": "power now",
    "average_socket_power": "power smoothed by the firmware, so short phases are blurred",
}
_LIBRARY = "libamd_smi.so"
_INSTALL = "install ROCm's amd-smi-lib, or set ROCM_PATH to where ROCm lies"
_MISFIT = "install the Python package that came with ROCm: pip install /opt/rocm/share/amd_smi"
_NO_ACCESS = "load the kernel driver amdgpu, and be in the groups render and video"
_NEXT = "the power sensor is used instead where there is one (hwmon, amdsmi-power)"


@dataclass(frozen=True)
class _Board:
    index: int
    handle: Any
    pci_bus_id: str
    unique_id: str


class AmdSmiMeter(Meter):
    """Power of one board, and its counter where ``with_counter`` asks for it and it is sound."""

    scope = "gpu"
    poll_period_s = 0.02

    def __init__(self, amdsmi: Any, board: _Board, name: str, with_counter: bool, sysfs: Path):
        """Watches the counter for half a second.

        Raises:
            MeterUnavailableError: the counter is not to be believed, or there is no power.
        """
        self.name = name
        self._amdsmi = amdsmi
        self._handle = board.handle
        self._files = _files(sysfs, board)
        self.memory = self._files.memory if self._files is not None else self.memory
        self._power_key = self._find_power()
        self.note = f"{POWER_KEYS[self._power_key]}; on Instinct, of the whole module"
        self._counter: MonotonicCounter | None = None
        if with_counter:
            self._watch_counter()
            self._counter = MonotonicCounter(name, self._energy_j)
            self.energy_resolution_j = self._accumulator()[1]

    def read_energy_j(self) -> float | None:
        return None if self._counter is None else self._counter.read()

    def read_power_w(self) -> float:
        call = f"amdsmi_get_power_info ({self._power_key}) of {self.name}"
        power_w = self._read("amdsmi_get_power_info").get(self._power_key)
        if not isinstance(power_w, int):
            raise MeterReadError(f"{call} answered {power_w!r}")
        return believable_w(float(power_w), call)

    def read_vram_bytes(self) -> int | None:
        return None if self._files is None else self._files.vram_used_bytes()

    def vram_total_bytes(self) -> int | None:
        return None if self._files is None else self._files.vram_total_bytes()

    def power_limit_w(self) -> float | None:
        return None if self._files is None else self._files.power_limit_w()

    def highest_limit_w(self) -> float | None:
        return None if self._files is None else self._files.highest_limit_w()

    def default_limit_w(self) -> float | None:
        return None if self._files is None else self._files.default_limit_w()

    def read_status(self) -> DeviceStatus:
        return DeviceStatus() if self._files is None else self._files.status()

    def close(self) -> None:
        """Nothing is released.

        Up to ROCm 7.0 the library does not count its users: a shut-down would take it from torch
        and from every other meter. It ends with the process.
        """

    def _find_power(self) -> str:
        refusals = []
        for self._power_key in POWER_KEYS:
            refusals.append(refusal_of(self.read_power_w))
            if not refusals[-1]:
                return self._power_key
        raise MeterUnavailableError(", ".join(refusals), _NEXT)

    def _watch_counter(self) -> None:
        """Raises:
        MeterUnavailableError: the counter does not advance as the power says.
        """
        try:
            start_j, start_s = self._energy_j(), time.perf_counter()
            powers_w = []
            while time.perf_counter() - start_s < WATCH_S:
                powers_w.append(self.read_power_w())
                time.sleep(WATCH_PERIOD_S)
            drawn_j, elapsed_s = self._energy_j() - start_j, time.perf_counter() - start_s
        except MeterReadError as error:
            raise MeterUnavailableError(str(error), _NEXT) from error
        sensed_w, counted_w = sum(powers_w) / len(powers_w), drawn_j / elapsed_s
        if drawn_j <= 0 or abs(counted_w - sensed_w) > max(AGREEMENT * sensed_w, AGREEMENT_W):
            raise MeterUnavailableError(
                f"the energy counter of {self.name} cannot be believed: it advanced by "
                f"{counted_w:.1f} W while the sensor showed {sensed_w:.1f} W",
                _NEXT,
            )

    def _energy_j(self) -> float:
        ticks, resolution_j = self._accumulator()
        return ticks * resolution_j

    def _accumulator(self) -> tuple[int, float]:
        count = self._read("amdsmi_get_energy_count")
        ticks, step_uj = count.get("energy_accumulator"), count.get("counter_resolution")
        if not isinstance(ticks, int) or not isinstance(step_uj, (int, float)):
            raise MeterReadError(f"amdsmi_get_energy_count of {self.name} answered {count!r}")
        return ticks, step_uj * 1e-6

    def _read(self, function: str) -> dict[str, Any]:
        try:
            answer = getattr(self._amdsmi, function)(self._handle)
        except (self._amdsmi.AmdSmiException, AttributeError) as error:
            raise MeterReadError(f"{function} of {self.name}: {_one_line(error)}") from error
        if not isinstance(answer, dict):
            raise MeterReadError(f"{function} of {self.name} answered {answer!r}")
        return answer


class AmdSmiSource(MeterSource):
    """``amdsmi:0``: boards whose energy counter can be believed, by AMD SMI's index."""

    key = "amdsmi"
    with_counter = True

    def __init__(self, sysfs: Path = SYSFS) -> None:
        self._sysfs = sysfs

    def probe(self) -> list[Offer]:
        try:
            boards = amdsmi_boards(load())
        except MeterUnavailableError as error:
            return [Offer(self.key, "AMD GPU", False, error.reason, error.remedy)]
        return [self._offer(str(b.index), f"AMD GPU at {b.pci_bus_id}") for b in boards]

    def open(self, selector: str) -> Meter:
        amdsmi = load()
        boards = amdsmi_boards(amdsmi)
        name = f"{self.key}:{selector}"
        for board in boards:
            if str(board.index) == selector:
                return AmdSmiMeter(amdsmi, board, name, self.with_counter, self._sysfs)
        names = ", ".join(f"{self.key}:{board.index}" for board in boards)
        raise MeterUnavailableError(f"there is no {name}", f"AMD SMI lists {names}")

    def match(self, device: DeviceId) -> str | None:
        if device.kind != "cuda":
            return None
        try:
            boards = amdsmi_boards(load())
        except MeterUnavailableError:
            return None
        same = (b for b in boards if is_same_board(device, b.unique_id, b.pci_bus_id))
        return next((str(board.index) for board in same), None)


class AmdSmiPowerSource(AmdSmiSource):
    """``amdsmi-power:0``: the library's power, the last resort after hwmon."""

    key = "amdsmi-power"
    with_counter = False


def load() -> Any:
    """The module amdsmi, initialised, without a line on stdout.

    Importing it without its library prints and raises KeyError, and with one that does not fit
    AttributeError; each leaves half a package behind, which is removed again.

    Raises:
        MeterUnavailableError: no library, no package, no fit or no driver.
    """
    if importlib.util.find_spec("amdsmi") is None:
        raise MeterUnavailableError(
            "the Python package amdsmi is missing",
            "for an AMD GPU: pip install amdsmi",
        )
    if not _has_library():
        raise MeterUnavailableError(f"{_LIBRARY} is not to be found", _INSTALL)
    try:
        with redirect_stdout(io.StringIO()):
            import amdsmi
    except (ImportError, KeyError, AttributeError, OSError) as error:
        for name in [name for name in sys.modules if name.partition(".")[0] == "amdsmi"]:
            del sys.modules[name]
        raise MeterUnavailableError(
            f"the Python package amdsmi does not fit {_LIBRARY}: {error}", _MISFIT
        ) from error
    try:
        amdsmi.amdsmi_init()
    except amdsmi.AmdSmiException as error:
        raise MeterUnavailableError(f"amdsmi_init: {_one_line(error)}", _NO_ACCESS) from error
    return amdsmi


def _has_library() -> bool:
    """Look where the package itself will look."""
    roots = [os.environ.get("ROCM_HOME"), os.environ.get("ROCM_PATH"), "/opt/rocm"]
    spec = importlib.util.find_spec("amdsmi")
    package = (spec.submodule_search_locations or []) if spec else []
    folders = [Path(root) / "lib" for root in roots if root] + [Path(path) for path in package]
    for candidate in (_LIBRARY, *(folder / _LIBRARY for folder in folders)):
        with suppress(OSError):
            ctypes.CDLL(str(candidate))
            return True
    return False


def amdsmi_boards(amdsmi: Any) -> list[_Board]:
    """Every board, in AMD SMI's order.

    Raises:
        MeterUnavailableError: there is none, or they cannot be listed.
    """
    try:
        handles = amdsmi.amdsmi_get_processor_handles()
        boards = [
            _Board(index, handle, amdsmi.amdsmi_get_gpu_device_bdf(handle), _serial(amdsmi, handle))
            for index, handle in enumerate(handles)
        ]
    except (amdsmi.AmdSmiException, AttributeError) as error:
        raise MeterUnavailableError(
            f"AMD SMI lists no GPU: {_one_line(error)}", _INSTALL
        ) from error
    if not boards:
        raise MeterUnavailableError("AMD SMI lists no GPU", "load the kernel driver amdgpu")
    return boards


def _serial(amdsmi: Any, handle: Any) -> str:
    """The unique id that HIP makes its UUID of."""
    try:
        return str(amdsmi.amdsmi_get_gpu_asic_info(handle)["asic_serial"])
    except (amdsmi.AmdSmiException, AttributeError, KeyError, TypeError):
        return ""  # Forms of this answer differ over versions, and a board is found without it.


def _files(sysfs: Path, board: _Board) -> AmdgpuFiles | None:
    key = pci_key(board.pci_bus_id)
    for candidate in hwmon_boards(sysfs, ("amdgpu",)):
        if pci_key(candidate.pci_bus_id) == key:
            return AmdgpuFiles(candidate.hwmon)
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
