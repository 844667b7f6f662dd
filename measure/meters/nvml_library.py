"""NVIDIA's driver library NVML, opened and closed, and the boards that it lists.

It comes with the driver; the package nvidia-ml-py is the way to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from .base import DeviceId, MeterUnavailableError
from .identity import is_same_board, uuid_key

_NO_DRIVER = "install NVIDIA's driver; in a container, pass the GPU with the 'utility' capability"
_NO_BOARD = "name a board that NVML lists, by its index or UUID"


@dataclass(frozen=True)
class Board:
    """A board as NVML lists it; ``error`` says why it could not be asked."""

    index: int
    handle: Any = None
    uuid: str = ""
    pci_bus_id: str = ""
    name: str = "NVIDIA GPU"
    mig_enabled: bool = False
    error: str = ""

    @property
    def label(self) -> str:
        return ", ".join(part for part in (self.name, self.uuid, self.pci_bus_id) if part)


@contextmanager
def nvml_library() -> Iterator[Any]:
    """The module pynvml between one nvmlInit and its nvmlShutdown."""
    try:
        import pynvml
    except ImportError as error:
        raise MeterUnavailableError(
            "the Python package nvidia-ml-py is missing", "pip install nvidia-ml-py"
        ) from error
    try:
        pynvml.nvmlInit()
    except nvml_errors(pynvml) as error:
        raise MeterUnavailableError(f"nvmlInit answered: {error}", _NO_DRIVER) from error
    try:
        yield pynvml
    finally:
        with suppress(*nvml_errors(pynvml)):
            pynvml.nvmlShutdown()


def nvml_boards(nvml: Any) -> list[Board]:
    """Every board, in NVML's order.

    Raises:
        MeterUnavailableError: there is none.
    """
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml_errors(nvml) as error:
        raise MeterUnavailableError(f"nvmlDeviceGetCount answered: {error}", _NO_DRIVER) from error
    if count == 0:
        raise MeterUnavailableError("NVML lists no GPU", _NO_DRIVER)
    return [_board(nvml, index) for index in range(count)]


def _board(nvml: Any, index: int) -> Board:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml_errors(nvml) as error:
        return Board(index, error=f"NVML cannot identify GPU {index}: {error}")
    told: dict[str, Any] = {}
    refusals = []
    for field, ask in (
        ("uuid", lambda: nvml.nvmlDeviceGetUUID(handle)),
        ("pci_bus_id", lambda: _pci_bus_id(nvml.nvmlDeviceGetPciInfo(handle))),
        ("name", lambda: nvml.nvmlDeviceGetName(handle)),
        ("mig_enabled", lambda: _is_mig_enabled(nvml, handle)),
    ):
        try:
            told[field] = ask()
        except nvml_errors(nvml) as error:
            refusals.append(str(error))
    fault = "" if told.get("uuid") or told.get("pci_bus_id") else ", ".join(refusals)
    fault = fault and f"NVML cannot identify GPU {index}: {fault}"
    return Board(index, handle, error=fault, **told)


def _pci_bus_id(pci: Any) -> str:
    return f"{pci.domain:08x}:{pci.bus:02x}:{pci.device:02x}.0"


def _is_mig_enabled(nvml: Any, handle: Any) -> bool:
    current, _pending = nvml.nvmlDeviceGetMigMode(handle)
    return bool(current == nvml.NVML_DEVICE_MIG_ENABLE)


def nvml_errors(nvml: Any) -> tuple[type[Exception], ...]:
    """What nvidia-ml-py raises where a call fails.

    Where a driver is older than the package, its own error for that is no ``NVMLError``.
    """
    mismatch = getattr(nvml, "NVMLLibraryMismatchError", None)
    return (nvml.NVMLError,) if mismatch is None else (nvml.NVMLError, mismatch)


def select_board(boards: list[Board], selector: str) -> Board:
    if selector.isdecimal():
        found = [board for board in boards if board.index == int(selector)]
    else:
        key = uuid_key(selector)
        found = [board for board in boards if key and uuid_key(board.uuid).startswith(key)]
    if len(found) != 1:
        listed = ", ".join(f"nvml:{board.index} ({board.uuid})" for board in boards)
        raise MeterUnavailableError(
            f"{len(found)} boards answer to nvml:{selector}; NVML lists {listed}", _NO_BOARD
        )
    if found[0].error:
        raise MeterUnavailableError(found[0].error, "see what the command nvidia-smi says of it")
    return found[0]


def match_board(boards: list[Board], device: DeviceId) -> Board | None:
    """By UUID, else by PCI address; without either, the only board, if it bears that name."""
    if not device.uuid and not device.pci_bus_id:
        return boards[0] if len(boards) == 1 and boards[0].name == device.name else None
    same = (board for board in boards if is_same_board(device, board.uuid, board.pci_bus_id))
    return next(same, None)
