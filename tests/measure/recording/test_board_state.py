"""Throttling, other processes, displays and clocks become flags of a run."""

import pytest

from wattbench.measure.meters import DeviceStatus
from wattbench.measure.recording.board_state import board_state, join_states
from wattbench.records import BoardState


def test_a_quiet_board_has_no_flags():
    state = board_state(
        [
            DeviceStatus(50.0, 1.8e9, (), False, 0, 350.0),
            DeviceStatus(54.0, 1.79e9, (), False, 0, 350.0),
        ]
    )
    assert state == BoardState(54.0, pytest.approx(1.795e9), ())


def test_what_disturbs_is_flagged_once():
    state = board_state(
        [
            DeviceStatus(70.0, 1.9e9, ("sw_power_cap",), True, 2),
            DeviceStatus(84.0, 1.2e9, ("sw_power_cap", "sw_thermal_slowdown"), True, 1),
        ]
    )
    assert state.flags == (
        "throttled: sw_power_cap, sw_thermal_slowdown",
        "other processes on the board: 2",
        "display active",
        "SM clock changed: 1200 to 1900 MHz",
    )


def test_another_power_limit_than_the_environments_is_flagged():
    statuses = [DeviceStatus(power_limit_w=limit_w) for limit_w in (350.0, 250.0)]
    assert board_state(statuses, 350.0).flags == ("power limit changed: 350 to 250 W",)
    assert board_state(statuses[:1], 350.0).flags == ()
    assert board_state(statuses).flags == ()


def test_what_is_not_told_is_no_flag():
    assert board_state([DeviceStatus()]) == BoardState(None, None, ())
    assert board_state([]) == BoardState()


def test_parts_of_a_run_are_joined():
    joined = join_states(
        [BoardState(60.0, 1e9, ("a",)), BoardState(), BoardState(70.0, 2e9, ("a", "b"))]
    )
    assert joined == BoardState(70.0, 1.5e9, ("a", "b"))
