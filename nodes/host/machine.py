"""What kernels and formats ask of the device that ComfyUI computes on."""

from __future__ import annotations

import torch

from ...offer import Machine


def machine_of(device: torch.device) -> Machine:
    """``device`` as :mod:`attention` and :mod:`quant` see it."""
    if device.type != "cuda":
        return Machine(device.type, "")
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip:
        gfx = str(getattr(properties, "gcnArchName", "")).split(":")[0]
        return Machine("cuda", properties.name, None, gfx)
    return Machine("cuda", properties.name, (properties.major, properties.minor))
