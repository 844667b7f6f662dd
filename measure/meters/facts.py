"""What a vendor's library or kernel driver says a board is, to be compared with other sources."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import MeterReadError, MeterUnavailableError
from .amdgpu import AmdgpuFiles
from .hwmon import AmdgpuMeter
from .nvml_library import nvml_boards, nvml_errors, nvml_library
from .sysfs import SYSFS, hwmon_boards, optional_int, optional_text


@dataclass(frozen=True)
class BoardFacts:
    """One board as one source sees it; empty or ``None`` where it does not tell.

    ``pci_bus_id`` tells which board it is. ``power_w`` is of the moment.
    """

    pci_bus_id: str
    name: str = ""
    driver: str = ""
    power_w: float | None = None
    power_limit_w: float | None = None
    memory_bytes: int | None = None


def nvml_facts() -> list[BoardFacts]:
    """The boards that NVML lists.

    Raises:
        MeterUnavailableError: NVML cannot be used here, or lists none.
    """
    with nvml_library() as nvml:

        def ask(function: str, *arguments: Any) -> Any:
            with suppress(*nvml_errors(nvml), AttributeError):
                return getattr(nvml, function)(*arguments)
            return None

        return [
            _nvml_board(board.pci_bus_id, board.name, board.handle, ask)
            for board in nvml_boards(nvml)
            if not board.error
        ]


def _nvml_board(pci_bus_id: str, name: str, handle: Any, ask: Callable[..., Any]) -> BoardFacts:
    power_mw = ask("nvmlDeviceGetPowerUsage", handle)
    limit_mw = ask("nvmlDeviceGetEnforcedPowerLimit", handle)
    memory = ask("nvmlDeviceGetMemoryInfo", handle)
    return BoardFacts(
        pci_bus_id=pci_bus_id,
        name=name,
        driver=ask("nvmlSystemGetDriverVersion") or "",
        power_w=None if power_mw is None else power_mw * 1e-3,
        power_limit_w=None if limit_mw is None else limit_mw * 1e-3,
        memory_bytes=None if memory is None else int(memory.total),
    )


def amdgpu_facts(sysfs: Path = SYSFS) -> list[BoardFacts]:
    """The boards that the kernel's amdgpu driver lists, from its files.

    The driver's version is that of the module, or the kernel's where it came with the kernel.
    """
    driver = optional_text(sysfs / "module/amdgpu/version") or platform.release()
    facts = []
    for board in hwmon_boards(sysfs, ("amdgpu",)):
        power_w = None
        with suppress(MeterUnavailableError, MeterReadError):
            power_w = AmdgpuMeter(board).read_power_w()
        device = board.hwmon / "device"
        facts.append(
            BoardFacts(
                pci_bus_id=board.pci_bus_id,
                name=optional_text(device / "product_name"),
                driver=driver,
                power_w=power_w,
                power_limit_w=AmdgpuFiles(board.hwmon).power_limit_w(),
                memory_bytes=optional_int(device / "mem_info_vram_total"),
            )
        )
    return facts


def amdsmi_facts() -> list[BoardFacts]:
    """The boards that AMD SMI lists.

    Raises:
        MeterUnavailableError: AMD SMI cannot be used here, or lists none.
    """
    from .amdsmi import amdsmi_boards, load

    amdsmi = load()

    def ask(function: str, handle: Any) -> dict[str, Any]:
        with suppress(amdsmi.AmdSmiException):
            answer: dict[str, Any] = getattr(amdsmi, function)(handle)
            return answer
        return {}

    return [_amdsmi_board(board.pci_bus_id, board.handle, ask) for board in amdsmi_boards(amdsmi)]


def _amdsmi_board(
    pci_bus_id: str, handle: Any, ask: Callable[[str, Any], dict[str, Any]]
) -> BoardFacts:
    powers = ask("amdsmi_get_power_info", handle)
    names = ("current_socket_power", "average_socket_power")
    power_w = next((powers[key] for key in names if isinstance(powers.get(key), int)), None)
    memory_mib = ask("amdsmi_get_gpu_vram_usage", handle).get("vram_total")
    return BoardFacts(
        pci_bus_id=pci_bus_id,
        name=str(ask("amdsmi_get_gpu_asic_info", handle).get("market_name", "")),
        driver=str(ask("amdsmi_get_gpu_driver_info", handle).get("driver_version", "")),
        power_w=None if power_w is None else float(power_w),
        memory_bytes=None if memory_mib is None else int(memory_mib) * 2**20,
    )
