"""Replayed traces: formats, holding, looping, faults."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.meters import DeviceId, MeterUnavailableError, open_meter
from wattbench.measure.meters.replay import ReplayMeter, load, parse

CSV = """t_s,energy_j,power_w,vram_bytes
10.0,500,100,1000
10.1,510,200,
10.3,550,150,3000
"""


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def played(text):
    clock = Clock()
    meter = ReplayMeter("replay:x", parse(text), clock)

    def read_at(t_s):
        clock.now_s = 1000.0 + t_s
        return meter.read_energy_j(), meter.read_power_w(), meter.read_vram_bytes()

    return read_at


def test_values_hold_until_the_next_row():
    read_at = played(CSV)
    assert read_at(0) == (500, 100, 1000)
    assert read_at(0.099) == (500, 100, 1000)
    assert read_at(0.15) == (510, 200, 1000)
    assert read_at(0.29) == (510, 200, 1000)


def test_the_counter_goes_on_rising_when_the_trace_starts_again():
    read_at = played(CSV)
    assert read_at(0.3001) == (550, 100, 1000)
    assert read_at(0.45) == (560, 200, 1000)
    assert read_at(3.0001)[0] == 500 + 10 * 50


def test_json_lines_are_the_same_trace():
    rows = [
        {"t_s": 10.0, "energy_j": 500, "power_w": 100, "vram_bytes": 1000},
        {"t_s": 10.1, "energy_j": 510, "power_w": 200},
        {"t_s": 10.3, "energy_j": 550, "power_w": 150, "vram_bytes": 3000},
    ]
    assert parse("\n".join(json.dumps(row) for row in rows) + "\n\n") == parse(CSV)


def test_a_channel_that_is_missing_stays_missing():
    read_at = played("t_s,power_w\n0,100\n1,200\n")
    assert read_at(0.5) == (None, 100, None)
    read_at = played("t_s,energy_j,power_w\n0,5,\n1,6,70\n")
    assert read_at(0.5) == (5, None, None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no header"),
        ("time,watts\n0,1\n1,2\n", "no header with a column t_s"),
        ("t_s,power_w\n0,1\n", "1 rows, at least 2 needed"),
        ("t_s,vram_bytes\n0,1\n1,2\n", "neither energy_j nor power_w"),
        ("t_s,energy_j\n0,1\n0,2\n", "line 3: t_s is 0.0, it has to rise"),
        ("t_s,energy_j\n0,1\n,2\n", "line 3: t_s is None"),
        ("t_s,energy_j\n0,2\n1,1\n", "line 3: energy_j falls from 2 to 1"),
        ("t_s,power_w\n0,1\n1,-2\n", "line 3: power_w is no number"),
        ("t_s,power_w\n0,1\n1,nan\n", "line 3: power_w is no number"),
        ("t_s,power_w\n0,1\n1,lots\n", "line 3: power_w is no number"),
        ('{"t_s": 0, "power_w": 1}\n{"t_s": 1, "power_w"}\n', "line 2: Expecting"),
        ('{"t_s": 0, "power_w": 1}\n[1, 2]\n', "line 2 is no JSON object"),
        ('{"t_s": 0, "power_w": [1]}\n', "line 1: power_w is no number"),
    ],
)
def test_a_bad_trace_is_refused_by_line(tmp_path, text, complaint):
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(MeterUnavailableError, match=complaint) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(MeterUnavailableError, match="cannot read the trace"):
        open_meter(f"replay:{tmp_path / 'none.csv'}", DeviceId("cpu"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MeterUnavailableError, match="cannot read the trace"):
        load(tmp_path / "binary")
    with pytest.raises(MeterUnavailableError, match="needs a file"):
        open_meter("replay:", DeviceId("cpu"))


def test_the_path_may_hold_colons(tmp_path):
    path = tmp_path / "C:trace:1.csv"
    path.write_text(CSV)
    meter = open_meter(f"replay:{path}", DeviceId("cuda"))
    assert meter.name == f"replay:{path}"
    assert meter.provenance == "simulated"
    assert meter.read_energy_j() == 500
    with pytest.raises(MeterUnavailableError, match=r"C:\\traces\\a\.csv"):
        open_meter("replay:C:\\traces\\a.csv", DeviceId("cuda"))


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    assert load(tmp_path / "bom.csv") == parse(CSV)


steps = st.lists(st.tuples(st.floats(0.001, 10), st.floats(0, 1000)), min_size=1, max_size=20)
instants = st.lists(st.floats(0, 100), min_size=2, max_size=30)


@given(steps=steps, instants=instants)
def test_energy_never_falls_and_whole_rounds_count_fully(steps, instants):
    t_s, energy_j, lines = 0.0, 7.0, ["t_s,energy_j", "0.0,7.0"]
    for wait_s, rise_j in steps:
        t_s, energy_j = t_s + wait_s, energy_j + rise_j
        lines.append(f"{t_s!r},{energy_j!r}")
    read_at = played("\n".join(lines))
    values = [read_at(instant)[0] for instant in sorted(instants)]
    assert all(later >= earlier - 1e-6 for earlier, later in pairwise(values))
    middle_s = steps[0][0] / 2
    rounds = 1 if t_s > 10 else 5
    gain_j = read_at(middle_s + rounds * t_s)[0] - read_at(middle_s)[0]
    assert gain_j == pytest.approx(rounds * (energy_j - 7.0), abs=1e-6)
