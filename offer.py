"""One kind of answer for meters, kernels and formats: what a machine offers, or why it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Offer:
    """A thing as this machine has it: usable, or refused with a reason and a remedy."""

    name: str
    description: str
    available: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Machine:
    """What kernels and formats ask of a device.

    ``kind`` is torch's device type (``cuda`` for ROCm as well), ``capability`` NVIDIA's compute
    capability (``(8, 6)``), ``gfx`` AMD's target (``gfx906``); both are empty elsewhere.
    """

    kind: str
    name: str
    capability: tuple[int, int] | None = None
    gfx: str = ""


def machine_of(device: Any) -> Machine:
    """What a torch device is; of a CPU only its kind is known."""
    import torch

    if device.type != "cuda":
        return Machine(device.type, device.type)
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip:
        gfx = str(getattr(properties, "gcnArchName", "")).split(":")[0]
        return Machine("cuda", properties.name, None, gfx)
    return Machine("cuda", properties.name, (properties.major, properties.minor))
