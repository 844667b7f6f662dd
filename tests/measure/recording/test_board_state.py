"""Throttling, other processes, displays and clocks become flags of a run."""

import pytest

from wattbench.measure.meters import DeviceStatus
from wattbench.measure.meters.base import PcieLink
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
    board = {"vram_total_bytes": 24, "power_default_limit_w": 350.0}
    encode = BoardState(60.0, 1e9, ("a",), 0.25, pcie_link="gen 1 x16", **board)
    denoise = BoardState(70.0, 2e9, ("a", "b"), 1.0, pcie_link="gen 4 x16", **board)
    joined = join_states([(encode, 1.0), (BoardState(), 5.0), (denoise, 3.0)])
    means = pytest.approx(1.75e9), ("a", "b"), pytest.approx(0.8125)
    assert joined == BoardState(70.0, *means, pcie_link="gen 4 x16", **board)


def test_parts_of_which_nothing_is_known_are_joined_to_nothing():
    assert join_states([(BoardState(), 1.0), (BoardState(), 2.0)]) == BoardState()


def test_the_link_is_the_fastest_that_was_seen():
    """Boards slow it down as soon as they rest; eight lanes are fewer than sixteen."""
    links = [PcieLink(1, 16), PcieLink(4, 8), PcieLink(4, 16), None]
    state = board_state([DeviceStatus(pcie_link=link) for link in links])
    assert state.pcie_link == "gen 4 x16"


def test_utilisation_is_the_mean_of_what_was_read_within_the_run():
    state = board_state([DeviceStatus(gpu_utilisation=0.0)], None, [0.5, 1.0])
    assert state.gpu_utilisation == 0.75
    assert board_state([DeviceStatus(gpu_utilisation=0.0)]).gpu_utilisation is None
