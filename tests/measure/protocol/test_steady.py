"""When a board counts as warm."""

import pytest

from wattbench.measure.protocol.steady import Warmth, what_moves


def history(temperatures, clocks=None, period_s=5.0):
    clocks = clocks or [1.8e9] * len(temperatures)
    return [
        Warmth(100.0 + index * period_s, temperature, clock)
        for index, (temperature, clock) in enumerate(zip(temperatures, clocks, strict=True))
    ]


def test_a_constant_board_is_steady():
    assert what_moves(history([60] * 10)) == ""


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        (history([60, 60, 60]), "10 s only"),
        (history(range(40, 52)), "temperature moves by +12.0"),
        (history(range(52, 40, -1)), "temperature moves by -12.0"),
        (history([60] * 10, [1.7e9, *[1.8e9] * 9]), "1700 to 1800 MHz"),
    ],
)
def test_what_is_not_steady_is_named(states, reason):
    assert reason in what_moves(states)


def test_only_the_last_minute_counts():
    assert what_moves(history([*range(30, 60), *[60] * 13])) == ""


def test_long_runs_are_judged_by_the_last_two():
    assert what_moves(history([50, 60], period_s=120.0)) == "temperature moves by +5.0 °C a minute"
    assert what_moves(history([50, 60, 61], period_s=120.0)) == ""


def test_no_clock_is_no_hindrance_and_no_temperature_is():
    assert what_moves(history([60] * 10, [None] * 10)) == ""
    with pytest.raises(ValueError, match="no temperature"):
        what_moves(history([None] * 10))
