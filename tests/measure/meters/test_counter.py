"""Counters that wrap, reset and run backwards: no fault may become 0 J, nor any number."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.meters import MeterReadError
from wattbench.measure.meters.counter import MonotonicCounter, WrappingCounter

RANGE_J = 262143.328850
LIMIT_W = 10_000.0
rises = st.lists(st.floats(0, 250), min_size=1, max_size=60)


class Hardware:
    """A counter and a clock that the test sets."""

    def __init__(self, energy_j: float = 0.0) -> None:
        self.energy_j = energy_j
        self.t_s = 0.0

    def wrapping(self) -> WrappingCounter:
        return WrappingCounter("package", lambda: self.energy_j, RANGE_J, LIMIT_W, lambda: self.t_s)

    def monotonic(self) -> MonotonicCounter:
        return MonotonicCounter("board", lambda: self.energy_j)


@given(start_j=st.floats(0, RANGE_J), rises=st.lists(st.floats(0, 900), min_size=1, max_size=60))
def test_wraps_are_invisible(start_j, rises):
    hardware = Hardware(start_j)
    counter = hardware.wrapping()
    assert counter.read() == 0
    drawn_j = 0.0
    for rise_j in rises:
        drawn_j += rise_j
        hardware.energy_j = (start_j + drawn_j) % RANGE_J
        hardware.t_s += 0.01
        assert counter.read() == pytest.approx(drawn_j, abs=1e-4)


@given(last_j=st.floats(5000, RANGE_J - 5000), fall=st.floats(0.0, 0.99), later=rises)
def test_a_reset_is_an_error_and_stays_one(last_j, fall, later):
    hardware = Hardware(last_j)
    counter = hardware.wrapping()
    counter.read()
    hardware.energy_j, hardware.t_s = last_j * fall, 0.01
    with pytest.raises(MeterReadError, match="a reset"):
        counter.read()
    for rise_j in later:
        hardware.energy_j = last_j + rise_j
        hardware.t_s += 1
        with pytest.raises(MeterReadError):
            counter.read()


LONGEST_S = RANGE_J / LIMIT_W
"""A pause in which the counter wraps once at most."""


def test_a_pause_may_wrap_once():
    hardware = Hardware(RANGE_J / 2)
    counter = hardware.wrapping()
    counter.read()
    hardware.energy_j, hardware.t_s = RANGE_J / 4, 0.99 * LONGEST_S
    assert counter.read() == pytest.approx(RANGE_J * 0.75)


def test_after_a_pause_that_may_wrap_twice_the_energy_cannot_be_told():
    """A package at 250 W behind a page that is hidden for ten minutes: 150 kJ, or 19 kJ?"""
    hardware = Hardware(RANGE_J / 2)
    counter = hardware.wrapping()
    counter.read()
    hardware.energy_j, hardware.t_s = RANGE_J / 2 + 1.0, 1.01 * LONGEST_S
    with pytest.raises(MeterReadError, match="more than once"):
        counter.read()


@pytest.mark.parametrize(("share", "is_believed"), [(0.99, True), (1.01, False)])
def test_a_jump_is_no_energy(share, is_believed):
    hardware = Hardware(100.0)
    counter = hardware.wrapping()
    counter.read()
    hardware.t_s = 0.5
    hardware.energy_j += share * LIMIT_W * (0.5 + WrappingCounter.SLACK_S)
    if is_believed:
        assert counter.read() == pytest.approx(hardware.energy_j - 100.0)
    else:
        with pytest.raises(MeterReadError, match=r"rose from .* a reset or a jump"):
            counter.read()


@pytest.mark.parametrize("raw_j", [-1.0, RANGE_J + 1, float("nan")])
def test_a_value_outside_the_range_is_an_error(raw_j):
    with pytest.raises(MeterReadError, match="outside its range"):
        Hardware(raw_j).wrapping().read()


@given(start_j=st.floats(0, 1e9), rises=rises)
def test_a_rising_counter_passes_unchanged(start_j, rises):
    hardware = Hardware(start_j)
    counter = hardware.monotonic()
    for rise_j in rises:
        hardware.energy_j += rise_j
        assert counter.read() == hardware.energy_j


@given(high_j=st.floats(1, 1e9), fall=st.floats(0, 0.999), later=rises)
def test_a_falling_counter_is_an_error_and_stays_one(high_j, fall, later):
    hardware = Hardware(high_j)
    counter = hardware.monotonic()
    counter.read()
    hardware.energy_j = high_j * fall
    with pytest.raises(MeterReadError, match="ran backwards"):
        counter.read()
    for rise_j in later:
        hardware.energy_j = high_j + rise_j
        with pytest.raises(MeterReadError):
            counter.read()


@pytest.mark.parametrize("kind", ["monotonic", "wrapping"])
def test_a_failed_read_passes_through_and_may_recover(kind):
    answers = iter([5.0, MeterReadError("busy"), 7.0])

    def read_j() -> float:
        answer = next(answers)
        if isinstance(answer, MeterReadError):
            raise answer
        return answer

    if kind == "monotonic":
        counter = MonotonicCounter("board", read_j)
    else:
        counter = WrappingCounter("package", read_j, RANGE_J, LIMIT_W)
    first_j = counter.read()
    with pytest.raises(MeterReadError, match="busy"):
        counter.read()
    assert counter.read() - first_j == 2


@pytest.mark.parametrize("kind", ["monotonic", "wrapping"])
def test_threads_do_not_see_each_others_readings_as_a_fall(kind):
    ticks = itertools.count()

    def read_j() -> float:
        energy_j = next(ticks) * 1e-3
        time.sleep(1e-5)
        return energy_j

    if kind == "monotonic":
        counter = MonotonicCounter("board", read_j)
    else:
        counter = WrappingCounter("package", read_j, RANGE_J, LIMIT_W)
    errors: list[MeterReadError] = []

    def work() -> None:
        try:
            for _ in range(300):
                counter.read()
        except MeterReadError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert next(ticks) == 1200
