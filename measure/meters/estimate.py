"""A labelled estimate where there is no meter: the CPU's rated power times how busy it is.

It is no measurement. It leaves out idle power, turbo and low-power states, memory and every
accelerator, and it is chosen only by those who ask for it.
"""

from __future__ import annotations

import math
import os

import psutil

from .base import Meter, MeterSource, MeterUnavailableError, Offer

TDP_VARIABLE = "WATTBENCH_CPU_TDP_W"
ASSUMED_TDP_W = 65.0
"""The commonest rating of desktop CPUs, taken where ``TDP_VARIABLE`` is not set."""
MAX_TDP_W = 2000.0
WINDOWS_TICK_S = 1 / 64
"""GetSystemTimes advances with the system timer, 64 times a second by default."""


class EstimateMeter(Meter):
    """Energy as rated power per logical CPU times the busy CPU seconds of the whole machine."""

    name = "estimate"
    scope = "package"
    provenance = "estimated"
    is_computed = True
    poll_period_s = 0.05

    def __init__(self, tdp_w: float, assumed: bool) -> None:
        """Raises:
        MeterUnavailableError: the system keeps no account of CPU time.
        """
        if busy_s() <= 0:
            raise MeterUnavailableError(
                "the system reports no CPU time at all", "run outside the sandbox that hides it"
            )
        self._watts_per_cpu = tdp_w / (psutil.cpu_count(logical=True) or 1)
        self.energy_resolution_j = self._watts_per_cpu * _tick_s()
        self.note = _note(tdp_w, assumed)

    def read_energy_j(self) -> float:
        """Joules since the machine started, were it always at rated power when busy."""
        return self._watts_per_cpu * busy_s()

    def close(self) -> None:
        """Nothing is held."""


class EstimateSource(MeterSource):
    """``estimate``; the rated power comes from the environment variable WATTBENCH_CPU_TDP_W."""

    key = "estimate"
    opt_in = True

    def probe(self) -> list[Offer]:
        try:
            meter = self.open("")
        except MeterUnavailableError as error:
            return [Offer(self.key, "CPU estimate", False, error.reason, error.remedy)]
        return [Offer(self.key, f"{meter.note}; opt-in", True)]

    def open(self, selector: str) -> Meter:
        if selector:
            raise MeterUnavailableError(
                f"the meter 'estimate' takes no ':{selector}'",
                f"set {TDP_VARIABLE} to the CPU's rated power in watts",
            )
        text = os.environ.get(TDP_VARIABLE, "")
        return EstimateMeter(tdp_from(text) if text else ASSUMED_TDP_W, assumed=not text)


def tdp_from(text: str) -> float:
    """A rated power in watts.

    Raises:
        MeterUnavailableError: not a number above 0 and up to ``MAX_TDP_W``.
    """
    try:
        tdp_w = float(text)
    except ValueError:
        tdp_w = math.nan
    if not 0 < tdp_w <= MAX_TDP_W:
        raise MeterUnavailableError(
            f"{TDP_VARIABLE} is {text!r}, which is no power between 0 and {MAX_TDP_W:g} W",
            "set it to the CPU's rated power in watts, for example 65",
        )
    return tdp_w


def busy_s() -> float:
    """CPU seconds that all processes, the kernel and interrupts have used since the start."""
    times = psutil.cpu_times()
    busy = times.user + times.system
    return float(busy + sum(getattr(times, field, 0.0) for field in ("nice", "irq", "softirq")))


def _note(tdp_w: float, assumed: bool) -> str:
    origin = "assumed" if assumed else f"from {TDP_VARIABLE}"
    return f"estimated: {tdp_w:g} W {origin} × CPU load, not a measurement"


def _tick_s() -> float:
    if not hasattr(os, "sysconf"):
        return WINDOWS_TICK_S
    return 1 / os.sysconf("SC_CLK_TCK")
