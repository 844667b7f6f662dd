"""What the state of a board says about the runs measured on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ...records import BoardState
from ..meters import DeviceStatus

CLOCK_CHANGE = 0.05
"""Relative range of the SM clock above which a run says so."""


def board_state(
    statuses: Sequence[DeviceStatus],
    power_limit_w: float | None = None,
    utilisations: Sequence[float] = (),
) -> BoardState:
    """The state of a board over a run, from statuses read while it went on.

    The link to the machine is the fastest that was seen, which is that under load.

    Args:
        statuses: in order of time, those beside the run among them.
        power_limit_w: the limit that the run's environment states.
        utilisations: of the statuses read within the run: each is of the time before its read.
    """
    links = [s.pcie_link for s in statuses if s.pcie_link is not None]
    link = max(links, default=None)
    temperatures = [s.temperature_c for s in statuses if s.temperature_c is not None]
    clocks = [s.sm_clock_hz for s in statuses if s.sm_clock_hz is not None]
    return BoardState(
        temperature_max_c=max(temperatures, default=None),
        sm_clock_mean_hz=sum(clocks) / len(clocks) if clocks else None,
        flags=(*_flags(statuses, clocks), *_limit_flags(statuses, power_limit_w)),
        gpu_utilisation=sum(utilisations) / len(utilisations) if utilisations else None,
        pcie_link=f"gen {link.generation} x{link.lane_count}" if link else "",
    )


def join_states(states: Sequence[tuple[BoardState, float]]) -> BoardState:
    """The state over several parts of one run, each given with its seconds; means count by them.

    The link is that of the longest part that has one.
    """

    def mean(of: Callable[[BoardState], float | None]) -> float | None:
        known = [(value, s) for state, s in states if (value := of(state)) is not None]
        total_s = sum(s for _, s in known)
        return sum(value * s for value, s in known) / total_s if total_s else None

    temperatures = [s.temperature_max_c for s, _ in states if s.temperature_max_c is not None]
    links = [(seconds, state.pcie_link) for state, seconds in states if state.pcie_link]
    return BoardState(
        temperature_max_c=max(temperatures, default=None),
        sm_clock_mean_hz=mean(lambda state: state.sm_clock_mean_hz),
        flags=tuple(dict.fromkeys(flag for state, _ in states for flag in state.flags)),
        gpu_utilisation=mean(lambda state: state.gpu_utilisation),
        vram_total_bytes=next((s.vram_total_bytes for s, _ in states if s.vram_total_bytes), None),
        pcie_link=max(links, default=(0.0, ""))[1],
        power_default_limit_w=next(
            (s.power_default_limit_w for s, _ in states if s.power_default_limit_w), None
        ),
    )


def _flags(statuses: Sequence[DeviceStatus], clocks: Sequence[float]) -> Iterator[str]:
    reasons = dict.fromkeys(reason for s in statuses for reason in s.throttle_reasons or ())
    if reasons:
        yield f"throttled: {', '.join(reasons)}"
    others = max((s.other_process_count or 0 for s in statuses), default=0)
    if others:
        yield f"other processes on the board: {others}"
    if any(s.display_active for s in statuses):
        yield "display active"
    if clocks and max(clocks) - min(clocks) > CLOCK_CHANGE * max(clocks):
        yield f"SM clock changed: {min(clocks) / 1e6:.0f} to {max(clocks) / 1e6:.0f} MHz"


def _limit_flags(statuses: Sequence[DeviceStatus], power_limit_w: float | None) -> Iterator[str]:
    """Runs under another limit than their environment states are not repeats of the rest."""
    limits = {s.power_limit_w for s in statuses if s.power_limit_w is not None} - {power_limit_w}
    if power_limit_w is not None and limits:
        yield f"power limit changed: {power_limit_w:g} to {min(limits):g} W"
