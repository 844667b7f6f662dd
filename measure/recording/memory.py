"""Memory gauges: the driver's view of a device, torch's allocator, the process's resident set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    import torch


class Gauges(ABC):
    """What can be read of memory for runs on one device."""

    read_vram_bytes: Callable[[], int | None] | None = None
    """Bytes in use on the whole device, by every process, as its driver sees them."""
    vram_total_bytes: int | None = None
    """What the device has."""
    vram_note: str = ""
    """Why there is no figure for device memory, where there is none."""
    read_allocator_bytes: Callable[[], int | None] | None = None
    """Bytes that torch's allocator holds for this process, now."""
    allocator_source: str = ""
    """Which allocator that is."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def read_rss_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    @abstractmethod
    def reset_allocator_peak(self) -> None:
        """Start a new peak for torch's allocator."""

    @abstractmethod
    def allocator_peak_bytes(self) -> int | None:
        """The most that torch's allocator held for this process since the reset.

        It does not see what other allocators hold, for example ComfyUI's dynamic VRAM.
        """


class HostGauges(Gauges):
    """A model on the CPU uses main memory alone."""

    vram_note = "the model ran on the CPU: no VRAM is in use, see peak_rss_bytes"

    def reset_allocator_peak(self) -> None:
        pass

    def allocator_peak_bytes(self) -> None:
        return None


class AcceleratorGauges(Gauges):
    """CUDA, ROCm and XPU, by torch's module of that name."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        import torch

        self._backend: Any = getattr(torch, device.type)
        self._device = device
        self.read_vram_bytes = self._used_bytes
        self.read_allocator_bytes = self._reserved_bytes
        self.vram_total_bytes = int(self._backend.get_device_properties(device).total_memory)
        self.allocator_source = f"torch.{device.type}, reserved by this process"

    def _used_bytes(self) -> int:
        free_bytes, total_bytes = self._backend.mem_get_info(self._device)
        return int(total_bytes - free_bytes)

    def _reserved_bytes(self) -> int:
        """As ``memory_reserved``, without its flattening of all statistics to a new dictionary."""
        statistics = self._backend.memory_stats_as_nested_dict(self._device)
        return int(statistics["reserved_bytes"]["all"]["current"]) if statistics else 0

    def reset_allocator_peak(self) -> None:
        self._backend.reset_peak_memory_stats(self._device)

    def allocator_peak_bytes(self) -> int:
        return int(self._backend.max_memory_reserved(self._device))


class UnknownGauges(HostGauges):
    """Accelerators whose memory torch does not tell in these terms (MPS, NPU, ...)."""

    vram_note = "torch tells no device memory for this kind of accelerator"


def gauges_for(device: torch.device) -> Gauges:
    if device.type == "cpu":
        return HostGauges()
    if device.type in ("cuda", "xpu"):
        return AcceleratorGauges(device)
    return UnknownGauges()
