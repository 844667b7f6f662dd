"""What Show Summary is given: both tables, and a reason for every blank cell of them."""

from dataclasses import replace

import pytest

from wattbench.report.shown import summary_shown
from wattbench.tables.table import BLANK


def cells(table, row=0):
    return dict(zip(table["headings"], table["rows"][row], strict=True))


def without_energy(run, note):
    phases = tuple(replace(phase, energy=None) for phase in run.phases)
    return replace(run, energy=None, energy_note=note, phases=phases)


def test_phases_have_time_energy_and_share(make_run):
    runs = [make_run("a", denoise_s=9.0), make_run("b", denoise_s=11.0)]
    found = cells(summary_shown(runs)["phases"])
    assert found["Load (s)"] == "1.000 ± 0.000"
    # Student's t for one degree of freedom is 12.71, the standard error 1.
    assert found["Denoise (s)"] == "10 ± 13 (83 %)"
    assert found["Encode (s)"].endswith("(4 %)")
    assert found["Denoise (J)"] == "2000 ± 2500 (83 %)"
    assert found["s/step"] == "0.33 ± 0.42"
    assert found["Phases by"] == "counter"


def test_shares_add_up(make_run):
    found = cells(summary_shown([make_run("a")])["phases"])
    for unit in ("s", "J"):
        names = [f"{phase} ({unit})" for phase in ("Encode", "Denoise", "Decode")]
        shares = [int(found[name].split("(")[1].removesuffix(" %)")) for name in names]
        assert sum(shares) == pytest.approx(100, abs=1)


def test_net_energy_may_be_negative_and_idle_power_is_shown(make_run):
    run = make_run("a", idle_power_w=250.0, idle_power_before_w=240.0, idle_power_after_w=260.0)
    found = cells(summary_shown([run])["phases"])
    assert found["Idle power before / after (W)"] == "240.0 / 260.0"
    # 200 W less 250 W, for 12 s and a batch of 2.
    assert found["Net J/img"] == "-300.0"


def test_idle_power_known_on_one_side_only(make_run):
    run = make_run("a", idle_power_w=60.0, idle_power_before_w=60.0)
    found = cells(summary_shown([run])["phases"])
    assert found["Idle power before / after (W)"] == f"60.0 / {BLANK}"


def conditions(make_run):
    whole = make_run("whole")
    other = replace(whole.condition, model="other")
    third = replace(whole.condition, model="third", steps=None, batch_size=None)
    partial = make_run("partial", condition=third)
    return [
        whole,
        without_energy(make_run("blank", condition=other, vram=None, vram_note="no gauge"), "lost"),
        replace(partial, phases=partial.phases[2:3]),
        make_run("failed", condition=replace(other, model="f"), error="it broke", phases=()),
    ]


@pytest.mark.parametrize("name", ["summary", "phases"])
def test_every_blank_cell_has_a_reason_and_no_other_has(make_run, name):
    shown = summary_shown(conditions(make_run))
    table = shown if name == "summary" else shown["phases"]
    blank = 0
    for row, reasons in zip(table["rows"], table["blanks"], strict=True):
        empty = {h for h, cell in zip(table["headings"], row, strict=True) if cell == BLANK}
        assert set(reasons) == empty
        assert all(reasons.values())
        blank += len(empty)
    assert blank > 10


def gone(shown):
    """The reason of every column that has nothing in it, by heading."""
    return {heading: one["reason"] for one in shown["unmeasured"] for heading in one["headings"]}


def test_one_cause_is_one_line_and_not_a_dash_in_every_column(make_run):
    shown = summary_shown(conditions(make_run)[1:2])
    (line,) = (one for one in shown["unmeasured"] if "J/img" in one["headings"])
    assert line["reason"] == "lost"
    assert {"img/kWh", "Energy from", "Encode (J)", "J/step", "Phases by"} < {*line["headings"]}
    assert gone(shown)["Peak VRAM (GiB)"] == "no gauge"
    assert {"J/img", "Peak VRAM (GiB)"}.isdisjoint(shown["headings"])
    assert "Denoise (J)" not in shown["phases"]["headings"]
    assert not [note for note in shown["notes"] if "lost" in note or "no gauge" in note]


def test_of_a_probed_run_the_reason_and_the_meters_note_are_told_apart(make_run):
    note = "no energy per image: decode not measured; power is instantaneous"
    run = make_run("probed", energy=None, energy_note=note)
    shown = summary_shown([replace(run, phases=run.phases[2:3])])
    assert gone(shown)["J/img"] == "no energy per image: decode not measured"
    assert "Denoise (J)" in shown["phases"]["headings"]
    assert "Energy: power is instantaneous" in shown["notes"]


def test_failures_are_told_once_and_pictures_are_of_runs_that_count(make_run):
    runs = [make_run("a"), make_run("b"), make_run("f", error="out of memory", phases=())]
    shown = summary_shown(runs, lambda run: {"filename": run.run_id} if run.run_id > "a" else None)
    (trouble,) = shown["troubles"]
    assert trouble.startswith("1 failed of moth.safetensors")
    assert trouble not in shown["notes"]
    assert shown["pictures"] == [{"filename": "b"}]


def test_it_says_when_it_was_measured(make_run):
    runs = [
        make_run("b", started_at="2026-01-02T00:00:00+00:00"),
        make_run("a", started_at="2026-01-01T00:00:00+00:00"),
    ]
    first, last = summary_shown(runs)["measured_at"]
    assert (first, last) == (runs[1].started_at, runs[0].started_at)
