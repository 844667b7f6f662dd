"""Borders on the device's own clock, so that nothing has to be synchronised inside a run.

Work on a GPU is queued: when a call returns, its kernels may not have begun. A border is therefore
an event in the device's queue, and it becomes a time of ``time.perf_counter`` once the run is over.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Timeline(ABC):
    """Marks borders between :meth:`start` and :meth:`stop`, and tells their times afterwards."""

    @abstractmethod
    def start(self) -> float:
        """Wait for the device, then return the time from which marks count."""

    @abstractmethod
    def stop(self) -> float:
        """Wait for the device, then return the time."""

    @abstractmethod
    def mark(self) -> Any:
        """A border, here, in the order of the work queued so far."""

    @abstractmethod
    def seconds(self, mark: Any) -> float:
        """The ``time.perf_counter`` time of a mark; only after :meth:`stop`."""


class HostTimeline(Timeline):
    """For devices whose work is done when the call returns: the CPU."""

    def start(self) -> float:
        return time.perf_counter()

    def stop(self) -> float:
        return time.perf_counter()

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, mark: float) -> float:
        return mark


class EventTimeline(Timeline):
    """For CUDA, ROCm and XPU: timing events of torch, mapped to the host's clock at the start."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._backend: Any = getattr(torch, device.type)
        self._device = device

    def start(self) -> float:
        self._backend.synchronize(self._device)
        self._origin = self.mark()
        self._backend.synchronize(self._device)
        self._origin_s = time.perf_counter()
        return self._origin_s

    def stop(self) -> float:
        self._backend.synchronize(self._device)
        return time.perf_counter()

    def mark(self) -> Any:
        event = self._backend.Event(enable_timing=True)
        event.record(self._backend.current_stream(self._device))
        return event

    def seconds(self, mark: Any) -> float:
        return self._origin_s + self._origin.elapsed_time(mark) / 1000


class SynchronizingTimeline(HostTimeline):
    """For accelerators without timing events (MPS, NPU, ...): each mark waits for the device.

    Waiting costs time, so steps look a little slower than they are; :func:`timeline_for` uses it
    only where there is no other way.
    """

    def __init__(self, device: torch.device) -> None:
        import torch

        self._backend: Any = getattr(torch, device.type)

    def start(self) -> float:
        return self.mark()

    def stop(self) -> float:
        return self.mark()

    def mark(self) -> float:
        self._backend.synchronize()
        return time.perf_counter()


def timeline_for(device: torch.device) -> Timeline:
    """The least intrusive timeline that ``device`` has."""
    if device.type == "cpu":
        return HostTimeline()
    if device.type in ("cuda", "xpu"):
        return EventTimeline(device)
    return SynchronizingTimeline(device)
