"""Which kernels ran: calls, seconds where they are timed, and why a call fell back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


class CpuClock:
    """Seconds of calls that have ended when they return."""

    def mark(self) -> Any:
        return time.perf_counter()

    def seconds(self, start: Any, end: Any) -> float:
        return float(end - start)


class EventClock:
    """Seconds of calls that are queued on a device with timing events: CUDA, ROCm and XPU.

    A mark is an event; it is resolved when the seconds are asked for, which waits for the device.
    """

    def __init__(self, kind: str) -> None:
        import torch

        self._device: Any = getattr(torch, kind)

    def mark(self) -> Any:
        event = self._device.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3


class WaitingClock(CpuClock):
    """Seconds of calls that are queued on a device without such events, as MPS: a mark waits."""

    def __init__(self, kind: str) -> None:
        import torch

        if not hasattr(torch, kind):
            raise ValueError(
                f"calls on {kind} devices (DirectML) cannot be timed. Bypass this node: ComfyUI "
                "then computes attention by itself."
            )
        self._device: Any = getattr(torch, kind)

    def mark(self) -> Any:
        self._device.synchronize()
        return super().mark()


Clock = CpuClock | EventClock


def clock_of(kind: str) -> Clock:
    """The clock for torch's devices of this kind (``cuda`` for ROCm too).

    Raises:
        ValueError: nothing in torch waits for such a device.
    """
    if kind == "cpu":
        return CpuClock()
    return EventClock(kind) if kind in ("cuda", "xpu") else WaitingClock(kind)


@dataclass
class Tally:
    """Calls that one kernel ran, all for one reason; ``spans`` are marks of the timed ones."""

    executed: str
    reason: str
    call_count: int = 0
    spans: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Count:
    """A tally as it is read; ``duration_s`` is ``None`` where the calls were not timed."""

    requested: str
    executed: str
    call_count: int
    duration_s: float | None
    reason: str


class Ledger:
    """The tallies of what was asked of one choice, since it was cleared."""

    def __init__(self, requested: str, clock: Clock) -> None:
        self.requested = requested
        self.clock = clock
        self._tallies: dict[tuple[str, str], Tally] = {}

    def tally(self, executed: str, reason: str = "") -> Tally:
        """The tally of this kernel and reason, to count on."""
        return self._tallies.setdefault((executed, reason), Tally(executed, reason))

    def clear(self) -> None:
        """Forget the calls; tallies stay those that are counted on."""
        for tally in self._tallies.values():
            tally.call_count = 0
            tally.spans.clear()

    def read(self) -> list[Count]:
        """A count for every kernel and reason that has calls, in the order of first use."""
        return [self._count(tally) for tally in self._tallies.values() if tally.call_count]

    def _count(self, tally: Tally) -> Count:
        timed = len(tally.spans) == tally.call_count
        duration_s = sum(self.clock.seconds(*span) for span in tally.spans) if timed else None
        return Count(self.requested, tally.executed, tally.call_count, duration_s, tally.reason)


class IdleWatch:
    """How often a CUDA or ROCm device had nothing left to do when the host came with a call.

    A call finds the device idle where what the call before it queued has already been run.
    """

    SETTLING_CALLS = 32
    CALLS = 64

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew: the device was made to wait, so that what was seen means nothing."""
        self._last: Any = None
        self._seen = -self.SETTLING_CALLS
        self._idle = 0

    def note(self) -> None:
        """A call begins."""
        import torch

        if self._last is not None and self._seen >= 0:
            self._idle += self._last.query()
        self._seen += 1
        self._last = torch.cuda.Event()
        self._last.record()

    @property
    def part(self) -> float | None:
        """The part of the calls that found it idle; ``None`` until enough were seen."""
        return self._idle / self._seen if self._seen >= self.CALLS else None
