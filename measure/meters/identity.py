"""Is this board of a vendor's library the device that torch computes on?

Numbers are no answer: torch's order follows masks such as CUDA_VISIBLE_DEVICES and "fastest first".
"""

from __future__ import annotations

import re

from .base import DeviceId

_PCI = re.compile(r"(?:([0-9a-f]+):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})(?:\.[0-7])?", re.IGNORECASE)


def is_same_board(device: DeviceId, uuid: str, pci_bus_id: str) -> bool:
    """True where the UUIDs are equal, or else the PCI addresses are."""
    if uuid and device.uuid and uuid_key(uuid) == uuid_key(device.uuid):
        return True
    address = pci_key(pci_bus_id)
    return address is not None and address == pci_key(device.pci_bus_id)


def pci_key(text: str) -> tuple[int, int, int] | None:
    """``00000000:01:00.0`` and ``0000:01:00`` as (domain, bus, device); ``None`` for other text."""
    match = _PCI.fullmatch(text.strip())
    if match is None:
        return None
    domain, bus, device = match.groups(default="0")
    return int(domain, 16), int(bus, 16), int(device, 16)


def uuid_key(text: str) -> str:
    """A UUID as a key for comparison: lower case, without ``GPU-``, ``0x`` and hyphens.

    HIP's 16 bytes are the ASCII digits of AMD's 64-bit unique id, which torch prints as if they
    were a binary UUID; they are turned back into those digits.
    """
    key = text.strip().lower().removeprefix("gpu-").removeprefix("0x").replace("-", "")
    if re.fullmatch(r"(?:3[0-9]|6[1-6]){16}", key):
        return bytes.fromhex(key).decode("ascii")
    return key
