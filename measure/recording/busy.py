"""How much of the time a device had work while a program drove it, asked at random moments.

A stream of a GPU says at once whether all that was queued has run. Asked at moments that do not
depend on the work, the share of the answers "no" is the share of time in which the device had work;
the rest it waited for the host. That needs no profiler, and no event between two kernels.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...records import Busy

if TYPE_CHECKING:
    import torch

PERIOD_S = 0.02
"""Mean time from one look to the next, of the first :data:`DENSE_LOOKS`."""

DENSE_LOOKS = 200
LATER_PERIOD_S = 0.1
LEAST_LOOKS = 20
"""With fewer, the share would be a guess: its interval at 95 % is ± 0.2 and more."""

ON_CPU = "the device is the host"


class BusyWatch:
    """Enter it around work on ``device``, in the thread that queues it; then ``reading`` tells.

    On a CPU nothing is watched.
    """

    def __init__(self, device: torch.device) -> None:
        self._idle = self._looks = 0
        self._fault = ""
        self._has_run: Callable[[], bool] | None = None
        if device.type in ("cuda", "xpu"):
            import torch

            backend: Any = getattr(torch, device.type)
            self._has_run = backend.current_stream(device).query
        else:
            is_cpu = device.type == "cpu"
            self._fault = ON_CPU if is_cpu else f"{device.type} does not tell whether it has work"
        self._random = random.Random()
        self._leave = threading.Event()

    def __enter__(self) -> BusyWatch:
        if self._has_run is not None:
            self._thread = threading.Thread(target=self._loop, name="wattbench-busy", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        if self._has_run is not None:
            self._thread.join()

    @property
    def reading(self) -> Busy:
        """The share of looks at which the device had work; blank with a reason if they are few."""
        if self._fault:
            return Busy(None, self._looks, self._fault)
        if self._looks < LEAST_LOOKS:
            return Busy(None, self._looks, f"too short: {self._looks} looks, {LEAST_LOOKS} needed")
        return Busy(1 - self._idle / self._looks, self._looks)

    def look(self) -> None:
        """Ask once."""
        if self._has_run is None:
            return
        try:
            has_run = self._has_run()
        except RuntimeError as error:
            self._fault = f"the device did not answer: {str(error).splitlines()[0]}"
            return
        self._looks += 1
        self._idle += has_run

    def _loop(self) -> None:
        while not self._fault and not self._leave.wait(self._pause_s()):
            self.look()

    def _pause_s(self) -> float:
        period_s = PERIOD_S if self._looks < DENSE_LOOKS else LATER_PERIOD_S
        return self._random.uniform(0.5, 1.5) * period_s
