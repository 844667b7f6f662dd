"""A tick of rest on each side of what is measured: without it, rest and load are mixed."""

import time

import numpy as np
import pytest
import torch

from wattbench.measure.energy.attribution import Interval, share_ticks, tabulate
from wattbench.measure.recording.environment import identify
from wattbench.measure.recording.instrument import Instrument
from wattbench.measure.recording.readings import read_energies
from wattbench.measure.recording.samples import Samples
from wattbench.records import CounterSample

from ...simulated_board import ScriptedMeter

CPU = torch.device("cpu")
TICK_S = 0.125
REST_W, LOAD_W = 30.0, 300.0
START_S, END_S = 1.06, 1.59
RUN = [Interval("denoise", START_S, END_S)]
METER = ScriptedMeter(None, [])


def energy_j(t_s):
    return REST_W * t_s + (LOAD_W - REST_W) * min(max(t_s - START_S, 0.0), END_S - START_S)


TICKS = [CounterSample(n * TICK_S, energy_j(n * TICK_S)) for n in range(25)]


def test_one_tick_of_rest_on_each_side_takes_part_in_the_fit():
    """The ticks over the borders are at 1.0 and 1.5 s; those before and after them are all rest."""
    table = tabulate(TICKS, RUN)
    assert len(table.energy_j) == 7
    seconds = table.segments.by_tick(table.response(["denoise"], np.zeros(1)))[0]
    assert seconds[:, 0] == pytest.approx([0, 0.065, *[TICK_S] * 3, 0.09, 0])
    assert seconds[:, 1] == pytest.approx([TICK_S, 0.06, 0, 0, 0, 0.035, TICK_S])
    assert table.energy_j[[0, -1]] == pytest.approx(REST_W * TICK_S)
    assert table.calmest_w == pytest.approx(REST_W)


def test_fewer_ticks_are_taken_as_they_are():
    """8 is the last tick before the run, and 13 the first one after it."""
    for first, last, count in ((8, 13, 5), (7, 13, 6), (8, 14, 6), (7, 14, 7), (0, 24, 7)):
        assert len(tabulate(TICKS[first : last + 1], RUN).energy_j) == count
    for first, last in ((9, 13), (8, 12)):
        with pytest.raises(ValueError, match="do not reach around"):
            tabulate(TICKS[first : last + 1], RUN)


def test_with_rest_on_both_sides_the_load_is_exact_and_without_it_is_not():
    true_j = LOAD_W * (END_S - START_S)
    assert share_ticks(TICKS, RUN, 1e-5) == pytest.approx([true_j], rel=1e-3)
    [without_j] = share_ticks(TICKS[8:14], RUN, 1e-5)
    assert abs(without_j / true_j - 1) > 2e-3


def test_readings_reach_as_far_as_nothing_else_ran():
    """Before 0.8 s something else ran at 1 kW, which says nothing of rest."""
    busy = [CounterSample(t, e + 1000.0 * min(t, 0.875)) for t, e in TICKS]
    (reading,), _ = read_energies(METER, Samples(counter=busy), RUN, (0.875, 1.75))
    assert reading.energy_j == pytest.approx(LOAD_W * (END_S - START_S), rel=1e-2)
    assert reading.sample_count == len([t for t, _ in TICKS if 0.875 <= t <= 1.75])
    (reading,), _ = read_energies(METER, Samples(counter=busy), RUN)
    assert reading.sample_count == 6, "without that word, the ticks over the borders alone"


def test_the_instrument_waits_for_a_tick_of_rest_before_and_after(tmp_path, monkeypatch):
    monkeypatch.setattr("wattbench.measure.recording.reader.TICK_TIMEOUT_S", 60.0)
    path = tmp_path / "counter.csv"
    rows = [f"{i * 0.05:.2f},{i * 5.0}" for i in range(3000)]
    path.write_text("\n".join(["t_s,energy_j", *rows]) + "\n", encoding="utf-8")
    with Instrument(CPU, identify(CPU), f"replay:{path}") as instrument:
        for _ in range(2):
            with (
                instrument.record() as (window, recording),
                window.phase("denoise"),
            ):
                time.sleep(0.12)
            times_s = [tick.t_s for tick in recording.trace.counter]
            end_s = recording.end_s - recording.start_s
            assert sum(t_s <= 0 for t_s in times_s) >= 2
            assert sum(t_s >= end_s for t_s in times_s) >= 2
            energy = recording.phases[0].energy
            assert energy.energy_j > 0
            assert energy.sample_count == len(times_s), "and the reading takes them into account"
