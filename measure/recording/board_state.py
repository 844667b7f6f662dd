"""What the state of a board says about the runs measured on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...records import BoardState
from ..meters import DeviceStatus

CLOCK_CHANGE = 0.05
"""Relative range of the SM clock above which a run says so."""


def board_state(statuses: Sequence[DeviceStatus], power_limit_w: float | None = None) -> BoardState:
    """The state of a board over a run, from statuses read while it went on.

    ``power_limit_w`` is the limit that the run's environment states.
    """
    temperatures = [s.temperature_c for s in statuses if s.temperature_c is not None]
    clocks = [s.sm_clock_hz for s in statuses if s.sm_clock_hz is not None]
    return BoardState(
        temperature_max_c=max(temperatures, default=None),
        sm_clock_mean_hz=sum(clocks) / len(clocks) if clocks else None,
        flags=(*_flags(statuses, clocks), *_limit_flags(statuses, power_limit_w)),
    )


def join_states(states: Sequence[BoardState]) -> BoardState:
    """The state over several parts of one run; the clock is the mean of theirs."""
    temperatures = [s.temperature_max_c for s in states if s.temperature_max_c is not None]
    clocks = [s.sm_clock_mean_hz for s in states if s.sm_clock_mean_hz is not None]
    return BoardState(
        temperature_max_c=max(temperatures, default=None),
        sm_clock_mean_hz=sum(clocks) / len(clocks) if clocks else None,
        flags=tuple(dict.fromkeys(flag for state in states for flag in state.flags)),
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
