"""NVIDIA boards, through the NVIDIA Management Library that comes with the driver.

NVML counts energy in millijoules, power in milliwatts, clocks in MHz (NVML API Reference Guide,
"Device Queries"). What a board has is found by asking it, never inferred from its architecture.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from .base import (
    DeviceId,
    DeviceStatus,
    Meter,
    MeterReadError,
    MeterSource,
    MeterUnavailableError,
    Offer,
    PcieLink,
    refusal_of,
)
from .counter import MonotonicCounter
from .nvml_library import (
    Board,
    match_board,
    nvml_boards,
    nvml_errors,
    nvml_library,
    select_board,
)

POWER_INSTANT_FIELD = 186
"""NVML_FI_DEV_POWER_INSTANT, in milliwatts."""

FIRST_TICK_S = 0.5
"""A counter that still stands at 0 after several of its ticks does not count."""

THROTTLE_REASONS: Mapping[int, str] = {
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
"""nvmlClocksEventReasons by bit. Bit 0, the low clock of an idle GPU, is no throttling."""

_INSTANT = "power is instantaneous (NVML field 186)"
_AVERAGE = "power is nvmlDeviceGetPowerUsage, a 1 s average on Ampere and later (except GA100)"
_ESTIMATE = "set WATTBENCH_METER=estimate to opt in to a labelled estimate"
_JETSON = (
    "the built-in GPU of a Jetson has neither energy nor power in NVML, because its power is "
    "measured only for whole supply rails"
)
_MIG = (
    "a MIG instance has no energy of its own: the board counts all its instances together",
    "name the board (nvml:0, say) to measure all of it, or switch MIG off",
)
_MIG_PREFIX = "MIG-"
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""PROC_PID_INIT_INO of Linux."""


class NvmlMeter(Meter):
    """One board. Its counter runs since the driver was loaded and survives this process."""

    scope = "gpu"
    poll_period_s = 0.005

    def __init__(self, selector: str) -> None:
        """Open the board whose index, UUID or start of a UUID is ``selector``.

        Raises:
            MeterUnavailableError: no such board, or it has neither energy nor power.
        """
        with ExitStack() as stack:
            self._nvml = stack.enter_context(nvml_library())
            board = select_board(nvml_boards(self._nvml), selector)
            self.name = f"nvml:{board.index}"
            self._handle = board.handle
            self._choose_channels(board)
            self._release = stack.pop_all()

    def _choose_channels(self, board: Board) -> None:
        remarks = ["MIG is on: covers all instances of the board"] if board.mig_enabled else []
        no_energy, no_instant, no_average = map(
            refusal_of, (self._first_tick_j, self._instant_power_w, self._average_power_w)
        )
        self._counter: MonotonicCounter | None = None
        if not no_energy:
            self._counter = MonotonicCounter(self.name, self._energy_j)
            self.energy_resolution_j = 1e-3
        else:
            remarks.append(f"energy is integrated from power, because {no_energy}")
        self._power: Callable[[], float] | None = None
        if not no_instant:
            self._power = self._instant_power_w
            remarks.append(_INSTANT)
        elif not no_average:
            self._power = self._average_power_w
            remarks.append(_AVERAGE)
        if self._counter is None and self._power is None:
            raise MeterUnavailableError(
                f"{board.name} has neither energy nor power: "
                f"{', '.join((no_energy, no_instant, no_average))}",
                f"a virtual GPU often has none; {_ESTIMATE}",
            )
        memories = (self._memory_without_reserve, self._memory_with_reserve)
        self._memory = next((memory for memory in memories if not refusal_of(memory)), None)
        self.note = "; ".join(remarks)

    def read_energy_j(self) -> float | None:
        return None if self._counter is None else self._counter.read()

    def read_power_w(self) -> float | None:
        return None if self._power is None else self._power()

    def read_vram_bytes(self) -> int | None:
        return None if self._memory is None else self._memory()

    def vram_total_bytes(self) -> int | None:
        memory = self._optional("nvmlDeviceGetMemoryInfo")
        return None if memory is None else int(memory.total)

    def power_limit_w(self) -> float | None:
        limit_mw = self._optional("nvmlDeviceGetEnforcedPowerLimit")
        return None if limit_mw is None else limit_mw * 1e-3

    def highest_limit_w(self) -> float | None:
        limits_mw = self._optional("nvmlDeviceGetPowerManagementLimitConstraints")
        return self.default_limit_w() if limits_mw is None else limits_mw[-1] * 1e-3

    def default_limit_w(self) -> float | None:
        limit_mw = self._optional("nvmlDeviceGetPowerManagementDefaultLimit")
        return None if limit_mw is None else limit_mw * 1e-3

    def read_status(self) -> DeviceStatus:
        nvml = self._nvml
        temperature_c = self._optional("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU)
        sm_mhz = self._optional("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM)
        reasons = self._optional("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:
            reasons = self._optional("nvmlDeviceGetCurrentClocksThrottleReasons")
        display = self._optional("nvmlDeviceGetDisplayActive")
        if display is None:
            display = self._optional("nvmlDeviceGetDisplayMode")
        busy = self._optional("nvmlDeviceGetUtilizationRates")
        return DeviceStatus(
            temperature_c=None if temperature_c is None else float(temperature_c),
            sm_clock_hz=None if sm_mhz is None else sm_mhz * 1e6,
            throttle_reasons=None if reasons is None else throttle_names(reasons),
            display_active=None if display is None else bool(display),
            other_process_count=self._other_process_count(),
            power_limit_w=self.power_limit_w(),
            gpu_utilisation=None if busy is None else busy.gpu * 1e-2,
            pcie_link=self._pcie_link(),
        )

    def close(self) -> None:
        self._release.close()

    def _first_tick_j(self) -> float:
        """The counter, which a driver loaded just now leaves at 0 for a tick."""
        deadline_s = time.perf_counter() + FIRST_TICK_S
        while True:
            energy_j = self._energy_j()
            if energy_j > 0:
                return energy_j
            if time.perf_counter() > deadline_s:
                raise MeterReadError(f"the energy counter of {self.name} stands at 0 J")
            time.sleep(0.01)

    def _energy_j(self) -> float:
        return float(self._read("nvmlDeviceGetTotalEnergyConsumption")) * 1e-3

    def _instant_power_w(self) -> float:
        call = f"nvmlDeviceGetFieldValues({POWER_INSTANT_FIELD})"
        field = self._read("nvmlDeviceGetFieldValues", [(POWER_INSTANT_FIELD, 0)])[0]
        if field.nvmlReturn != self._nvml.NVML_SUCCESS:
            reason = self._nvml.NVMLError(field.nvmlReturn)
            raise MeterReadError(f"{call} on {self.name} answered: {reason}")
        return self._watts(call, field.value.uiVal)

    def _average_power_w(self) -> float:
        return self._watts("nvmlDeviceGetPowerUsage", self._read("nvmlDeviceGetPowerUsage"))

    def _watts(self, call: str, power_mw: int) -> float:
        if power_mw == 0:
            raise MeterReadError(f"{call} on {self.name} answered 0 W, which no live board draws")
        return power_mw * 1e-3

    def _memory_without_reserve(self) -> int:
        return int(self._read("nvmlDeviceGetMemoryInfo", self._nvml.nvmlMemory_v2).used)

    def _memory_with_reserve(self) -> int:
        return int(self._read("nvmlDeviceGetMemoryInfo").used)

    def _pcie_link(self) -> PcieLink | None:
        generation = self._optional("nvmlDeviceGetCurrPcieLinkGeneration")
        lane_count = self._optional("nvmlDeviceGetCurrPcieLinkWidth")
        return PcieLink(generation, lane_count) if generation and lane_count else None

    def _other_process_count(self) -> int | None:
        pids: set[int] = set()
        for kind in ("Compute", "Graphics"):
            processes = self._optional(f"nvmlDeviceGet{kind}RunningProcesses")
            if processes is None:
                return None
            pids.update(process.pid for process in processes)
        own = os.getpid()
        if own not in pids and _has_private_pids():
            return None
        return len(pids - {own})

    def _read(self, function: str, *arguments: Any) -> Any:
        try:
            call = getattr(self._nvml, function)
        except AttributeError as error:
            raise MeterReadError(f"this nvidia-ml-py does not know {function}") from error
        try:
            return call(self._handle, *arguments)
        except nvml_errors(self._nvml) as error:
            raise MeterReadError(f"{function} on {self.name} answered: {error}") from error

    def _optional(self, function: str, *arguments: Any) -> Any:
        try:
            return self._read(function, *arguments)
        except MeterReadError:
            return None


class NvmlSource(MeterSource):
    """The boards that NVML lists: ``nvml:0`` by index, ``nvml:GPU-…`` by UUID or its start."""

    key = "nvml"

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._sysfs = sysfs

    def probe(self) -> list[Offer]:
        try:
            with nvml_library() as nvml:
                boards = nvml_boards(nvml)
        except MeterUnavailableError as error:
            refusal = self._explain(error)
            return [Offer(self.key, "NVIDIA GPU", False, refusal.reason, refusal.remedy)]
        return [self._offer(str(board.index), board.label) for board in boards]

    def open(self, selector: str) -> Meter:
        if selector.startswith(_MIG_PREFIX):
            raise MeterUnavailableError(*_MIG)
        try:
            return NvmlMeter(selector)
        except MeterUnavailableError as error:
            raise self._explain(error) from error

    def match(self, device: DeviceId) -> str | None:
        if device.kind != "cuda":
            return None
        try:
            with nvml_library() as nvml:
                board = match_board(nvml_boards(nvml), device)
        except MeterUnavailableError:
            return None
        if board is None:
            return None
        return f"{_MIG_PREFIX}{device.uuid}" if board.mig_enabled else str(board.index)

    def _explain(self, error: MeterUnavailableError) -> MeterUnavailableError:
        """On a Jetson the reason lies deeper than what NVML answered."""
        with suppress(OSError):
            compatible = self._sysfs / "firmware/devicetree/base/compatible"
            if b"nvidia,tegra" in compatible.read_bytes():
                return MeterUnavailableError(f"{error.reason}, {_JETSON}", _ESTIMATE)
        return error


def throttle_names(reasons: int) -> tuple[str, ...]:
    """The names of the bits set in nvmlDeviceGetCurrentClocksThrottleReasons."""
    return tuple(name for bit, name in THROTTLE_REASONS.items() if reasons & bit)


def _has_private_pids() -> bool:
    """True in a container whose process ids are not those that the driver reports."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino != _INITIAL_PID_NAMESPACE
    except OSError:
        return False
