"""The hardware and software that a run happens on."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...records import Environment
from ..meters import DeviceId, Meter, MeterReadError
from ..meters.bounded import ANSWER_S, within

if TYPE_CHECKING:
    import torch

PACK_ROOT = Path(__file__).resolve().parents[2]


def identify(device: torch.device) -> DeviceId:
    """The device in terms that vendor libraries share: torch's own index is no identity."""
    import torch

    if device.type != "cuda":
        return DeviceId(device.type, device.index or 0, _cpu_name() if device.type == "cpu" else "")
    index = torch.cuda.current_device() if device.index is None else device.index
    properties: Any = torch.cuda.get_device_properties(index)
    uuid = str(getattr(properties, "uuid", ""))
    bus = getattr(properties, "pci_bus_id", None)
    pci = (
        ""
        if bus is None
        else f"{properties.pci_domain_id:08x}:{bus:02x}:{properties.pci_device_id:02x}.0"
    )
    return DeviceId("cuda", index, properties.name, f"GPU-{uuid}" if uuid else "", pci)


def capture(device: DeviceId, meter: Meter | None, host: str, host_version: str) -> Environment:
    """What is known of this machine and its software, for runs on ``device`` in ``host``."""
    import torch

    on_cuda = device.kind == "cuda"
    capability = torch.cuda.get_device_capability(device.index) if on_cuda else None
    return Environment(
        gpu_name="" if device.kind == "cpu" else device.name or device.kind,
        gpu_uuid=device.uuid,
        compute_capability="" if capability is None else f"{capability[0]}.{capability[1]}",
        driver=driver_version() if on_cuda else "",
        runtime=_runtime(torch.version) if on_cuda else "",
        torch=torch.__version__,
        host=host,
        host_version=host_version,
        pack=pack_version(),
        git_commit=git_commit(),
        python=platform.python_version(),
        os=platform.platform(),
        cpu_name=_cpu_name(),
        power_limit_w=_power_limit(meter),
    )


def pack_version(root: Path = PACK_ROOT) -> str:
    """The pack's version: of a folder, which need not be installed, from its ``pyproject.toml``."""
    project = root / "pyproject.toml"
    if not project.is_file():
        return metadata.version("wattbench")
    lines = project.read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version = "))


def git_commit(root: Path = PACK_ROOT) -> str:
    """The commit of a checkout, read from its files; empty where ``root`` is none."""
    git = root / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        branch = head[5:]
        if (git / branch).is_file():
            return (git / branch).read_text(encoding="ascii").strip()
        # git gathers the branches in one file from time to time.
        packed = (git / "packed-refs").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split()[0] for line in packed if line.endswith(f" {branch}")), "")


def _runtime(version: object) -> str:
    hip, cuda = getattr(version, "hip", None), getattr(version, "cuda", None)
    return f"rocm {hip}" if hip else f"cuda {cuda}"


def driver_version() -> str:
    """The kernel driver's version from ``/proc`` or ``/sys``; empty where neither tells."""
    for path in ("/sys/module/nvidia/version", "/sys/module/amdgpu/version"):
        try:
            return Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
    return ""


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()


def _power_limit(meter: Meter | None) -> float | None:
    if meter is None:
        return None
    try:
        return within(ANSWER_S, meter.power_limit_w)
    except MeterReadError:
        return None
