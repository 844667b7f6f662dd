"""Numbers in the kernel's files, one value a file, and the boards that its hwmon tree lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .base import MeterReadError

SYSFS = Path("/sys")


def read_text(path: Path) -> str:
    """The file's text without its line end.

    Raises:
        MeterReadError: naming the file and the system's reason, which is its cause.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise MeterReadError(f"{path}: {error.strerror}") from error


def read_int(path: Path) -> int:
    """The file's whole number.

    Raises:
        MeterReadError: the file cannot be read, or holds something else.
    """
    text = read_text(path)
    try:
        return int(text)
    except ValueError as error:
        raise MeterReadError(f"{path} holds {text!r}, no whole number") from error


def optional_int(path: Path) -> int | None:
    """The file's whole number, or ``None`` where it cannot be read."""
    try:
        return read_int(path)
    except MeterReadError:
        return None


def optional_text(path: Path) -> str:
    """The file's text, or nothing where it cannot be read."""
    try:
        return read_text(path)
    except MeterReadError:
        return ""


@dataclass(frozen=True)
class HwmonBoard:
    """A GPU with a hwmon folder, and what identifies it."""

    hwmon: Path
    driver: str
    pci_bus_id: str
    unique_id: str

    def check(self) -> None:
        """Whether the folder is still that of this board: numbers are given anew to other cards.

        Raises:
            MeterReadError: another card has it now, or none.
        """
        device = self.hwmon / "device"
        unique_id = optional_text(device / "unique_id")
        if _address(device) != self.pci_bus_id or unique_id != self.unique_id:
            raise MeterReadError(
                f"{self.hwmon} was the folder of the board at {self.pci_bus_id} and is it no longer"
            )


def hwmon_boards(sysfs: Path, drivers: tuple[str, ...]) -> list[HwmonBoard]:
    """The boards of these drivers, in the order of their PCI addresses."""
    boards = []
    for link in (sysfs / "class/hwmon").glob("hwmon*"):
        hwmon = link.resolve()
        driver = optional_text(hwmon / "name")
        if driver in drivers:
            device = hwmon / "device"
            unique_id = optional_text(device / "unique_id")
            boards.append(HwmonBoard(hwmon, driver, _address(device), unique_id))
    return sorted(boards, key=lambda board: board.pci_bus_id)


def _address(device: Path) -> str:
    """The PCI address that a link to a device's folder leads to."""
    try:
        return device.readlink().name
    except OSError:
        return device.resolve().name
