"""The computer around the boards: how busy its processors are, and how much of its memory."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class HostReading:
    """``cpu_share`` is of all processors since the reading before, ``None`` in the first one."""

    cpu_share: float | None
    ram_used_bytes: int
    ram_total_bytes: int


class HostGauge:
    """Reads the computer."""

    def __init__(self) -> None:
        self._is_first = True

    def read(self) -> HostReading:
        percent, memory = psutil.cpu_percent(None), psutil.virtual_memory()
        cpu_share = None if self._is_first else percent / 100
        self._is_first = False
        return HostReading(cpu_share, int(memory.total - memory.available), int(memory.total))
