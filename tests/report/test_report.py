"""The columns are a contract; a blank has a reason; nothing is pooled that differs."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pandas as pd
import pytest

from wattbench.analysis.summary import summarise
from wattbench.measure.protocol.journal import parse
from wattbench.report import (
    append_runs,
    read_runs,
    runs_frame,
    summary_text,
    table_of,
    write_all,
)
from wattbench.report.shown import summary_shown
from wattbench.tables.csv import write_frame
from wattbench.tables.text import as_text

CONTRACT = """
schema_version run_id started_at condition architecture model weights attention weight_format
width_px height_px batch_size steps nfe cfg sampler scheduler seed visit repeat is_warmup error
wall_time_s load_time_s text_encode_time_s denoise_time_s decode_time_s it_per_s img_per_s
energy_j energy_net_j idle_power_w mean_power_w text_encode_energy_j denoise_energy_j
decode_energy_j j_per_img img_per_kwh energy_meter energy_method energy_note peak_vram_bytes
mean_vram_bytes vram_source peak_rss_bytes gpu_name gpu_uuid driver torch comfyui pack
"""


def test_columns_of_the_contract(make_run):
    frame = runs_frame([make_run()])
    assert [column for column in CONTRACT.split() if column not in frame] == []


def test_figures_of_a_run(make_run):
    """30 steps in 10 s and 2 images in 12 s at 200 W."""
    (row,) = runs_frame([make_run()]).to_dict("records")
    assert row["it_per_s"] == pytest.approx(3.0)
    assert row["img_per_s"] == pytest.approx(2 / 12)
    assert row["energy_j"] == pytest.approx(2400)
    assert row["energy_net_j"] == pytest.approx(2400 - 30 * 12)
    assert row["mean_power_w"] == pytest.approx(200)
    assert row["j_per_img"] == pytest.approx(1200)
    assert row["img_per_kwh"] == pytest.approx(3000)
    assert row["load_time_s"] == 1.0
    assert row["load_energy_j"] == pytest.approx(200)
    assert row["nfe"] == 30
    assert row["seed"] == 2**63 + 1
    assert row["comfyui"] == "0.30.0"


def test_net_energy_may_be_negative(make_run):
    (row,) = runs_frame([make_run(idle_power_w=250.0)]).to_dict("records")
    assert row["energy_net_j"] == pytest.approx(2400 - 250 * 12)


def test_no_meter_is_a_blank_with_a_reason(make_run):
    run = make_run(energy=None, idle_power_w=None, energy_note="no meter on this machine")
    run = replace(run, phases=tuple(replace(phase, energy=None) for phase in run.phases))
    (row,) = runs_frame([run]).to_dict("records")
    blanks = [c for c in row if c.endswith("energy_j") or c in ("j_per_img", "img_per_kwh")]
    assert all(pd.isna(row[column]) for column in blanks)
    assert row["energy_meter"] == ""
    assert row["energy_note"] == "no meter on this machine"
    assert row["it_per_s"] == pytest.approx(3.0)


def test_a_phase_that_was_not_measured_is_blank(make_run):
    run = make_run()
    run = replace(run, phases=tuple(phase for phase in run.phases if phase.name != "decode"))
    (row,) = runs_frame([run]).to_dict("records")
    assert pd.isna(row["decode_time_s"])
    assert pd.isna(row["img_per_s"])


def test_csv_comes_back_as_it_was(tmp_path, make_run):
    runs = [make_run("a"), make_run("b", seed=None, error='RuntimeError: a, "b"\nc', phases=())]
    paths = write_all(runs, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["runs.csv", "summary.csv", "report.md"]
    pd.testing.assert_frame_equal(read_runs(paths[0]), runs_frame(runs))


def test_summary_of_repeats(make_run):
    runs = [make_run(str(i), denoise_s=10.0 + i, repeat=i) for i in range(5)]
    runs += [make_run("w", denoise_s=90.0, is_warmup=True), make_run("f", error="OOM", phases=())]
    (row,) = summarise(runs_frame(runs)).to_dict("records")
    speeds = pd.Series([30 / (10.0 + i) for i in range(5)])
    assert (row["n"], row["failed"], row["visits"]) == (5, 1, 1)
    assert row["interval_over"] == "repeats"
    assert row["it_per_s_mean"] == pytest.approx(speeds.mean())
    assert row["it_per_s_stdev"] == pytest.approx(speeds.std())
    assert row["it_per_s_ci95"] == pytest.approx(2.776 * speeds.std() / 5**0.5, rel=1e-3)
    assert row["peak_vram_bytes_mean"] == 10 * 2**30


def test_intervals_over_visit_means(make_run):
    """Two visits of many equal repeats are two independent values, not many."""
    runs = [
        make_run(f"{visit}{i}", denoise_s=10.0 * visit, visit=visit)
        for visit in (1, 2)
        for i in range(5)
    ]
    (row,) = summarise(runs_frame(runs)).to_dict("records")
    assert (row["n"], row["visits"], row["it_per_s_n"]) == (10, 2, 2)
    assert row["it_per_s_mean"] == pytest.approx((3.0 + 1.5) / 2)
    assert row["interval_over"] == "visit means"
    assert "visit means" in summary_text(runs)


def test_environments_and_meters_are_never_pooled(make_run):
    other = replace(make_run().environment, gpu_uuid="GPU-2")
    runs = [make_run("a"), make_run("b", environment=other), make_run("c", meter="estimate")]
    summary = summarise(runs_frame(runs))
    assert list(summary["n"]) == [1, 1, 1]
    assert sorted(summary["energy_meter"]) == ["estimate", "nvml:0", "nvml:0"]


def test_rows_of_other_environments_can_be_told_apart(make_run):
    """By as few columns as do it: the other card also has another driver and UUID."""
    base = make_run().environment
    other = replace(base, gpu_name="RTX 5090", gpu_uuid="GPU-2", driver="590.1")
    capped, unlimited = (replace(other, power_limit_w=watts) for watts in (300.0, None))
    environments = (base, other, capped, unlimited)
    runs = [make_run(str(i), environment=e) for i, e in enumerate(environments)]
    shown = summary_shown(runs)
    for table in (shown, shown["phases"]):
        assert list(table["headings"][1:3]) == ["gpu_name", "power_limit_w"]
        assert [row[2] for row in table["rows"]] == ["350", "350", "300", "—"]
        assert len({row[:3] for row in table["rows"]}) == 4
    assert shown["blanks"][3]["power_limit_w"] == "unavailable on this machine"
    by = "gpu_name, gpu_uuid, power_limit_w, driver"
    assert f"Rows are of different environments, by {by}." in shown["notes"]


def test_a_run_whose_meter_failed_still_has_its_speed(make_run):
    runs = [make_run("a"), make_run("b", energy=None, energy_note="the meter failed")]
    (row,) = summarise(runs_frame(runs)).to_dict("records")
    assert (row["it_per_s_n"], row["j_per_img_n"]) == (2, 1)


def test_only_failures_still_give_a_row(make_run):
    table = table_of(runs_frame([make_run("f", error="OutOfMemoryError: 24 GiB", phases=())]))
    assert len(table.rows) == 1
    assert any("24 GiB" in note for note in table.notes)


def test_synthetic_weights_are_marked(make_run):
    run = make_run(condition=replace(make_run().condition, weights="synthetic"))
    assert "[synthetic]" in summary_text([run])


def test_export_adds_runs_once(tmp_path, make_run):
    append_runs([make_run("a")], tmp_path)
    append_runs([make_run("a"), make_run("b")], tmp_path)
    assert list(read_runs(tmp_path / "runs.csv")["run_id"]) == ["a", "b"]


def test_exports_at_the_same_time_lose_no_run(tmp_path, make_run):
    ids = ["a", "b", "c", "d", "e", "f"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda run_id: append_runs([make_run(run_id)], tmp_path), ids))
    assert sorted(read_runs(tmp_path / "runs.csv")["run_id"]) == ids
    raw = parse((tmp_path / "runs.jsonl").read_text("utf-8"))
    assert sorted(run.run_id for run in raw) == ids


def test_a_table_of_something_else_is_left_alone(tmp_path, make_run):
    (tmp_path / "runs.csv").write_text("name,age\nmoth,3\n")
    with pytest.raises(ValueError, match=r"not a runs\.csv: it lacks the columns schema_version"):
        append_runs([make_run("a")], tmp_path)
    assert (tmp_path / "runs.csv").read_text() == "name,age\nmoth,3\n"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("is_warmup", "maybe", "is_warmup must be True or False"),
        ("is_warmup", "", "is_warmup must be True or False"),
        ("steps", "four", "no number.*steps"),
        ("steps", "inf", "no number"),
        ("it_per_s", "0,18", "no number.*0,18"),
    ],
)
def test_a_cell_that_somebody_spoiled_is_named(tmp_path, make_run, column, value, message):
    path = write_all([make_run("a"), make_run("b")], tmp_path)[0]
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, column] = value
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match=message) as caught:
        read_runs(path)
    assert str(path) in str(caught.value)


def test_a_table_without_a_run_that_counts_says_so(make_run):
    warm_up = replace(make_run("a"), is_warmup=True)
    assert "holds 1 runs, all of them warm-ups" in summary_text([warm_up])
    assert "holds no runs" in summary_text([])


def test_a_table_of_an_earlier_version_is_added_to(tmp_path, make_run):
    """Columns that came later are blank for the runs that were written without them."""
    earlier = runs_frame([make_run("a")]).drop(
        columns=["flags", "predicted_energy_j", "sm_clock_mean_hz"]
    )
    earlier.to_csv(tmp_path / "runs.csv", index=False)
    append_runs([make_run("b")], tmp_path)
    table = read_runs(tmp_path / "runs.csv")
    assert list(table["run_id"]) == ["a", "b"]
    assert list(table["flags"]) == ["", ""]
    assert table["j_per_img"].notna().all()


def test_a_table_of_another_schema_version_is_left_alone(tmp_path, make_run):
    other = runs_frame([make_run("a")]).assign(schema_version=99)
    other.to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(ValueError, match="schema version 99"):
        append_runs([make_run("b")], tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path, make_run, monkeypatch):
    write_all([make_run("a")], tmp_path)
    before = (tmp_path / "runs.csv").read_text()
    monkeypatch.setattr("pathlib.Path.replace", _no_space)
    with pytest.raises(OSError, match="No space left"):
        write_frame(runs_frame([make_run("b")]), tmp_path / "runs.csv")
    assert (tmp_path / "runs.csv").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report.md",
        "runs.csv",
        "summary.csv",
    ]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_others_may_read_what_the_umask_lets_them(tmp_path, make_run):
    plain = tmp_path / "plain.txt"
    plain.touch()
    (table, *_) = write_all([make_run("a")], tmp_path)
    assert table.stat().st_mode == plain.stat().st_mode


def _no_space(*_):
    raise OSError(28, "No space left on device")


def test_cells_show_interval_with_two_figures(make_run):
    runs = [make_run(str(i), denoise_s=10.0 + i / 100) for i in range(3)]
    text = as_text(table_of(runs_frame(runs)))
    assert "2.9970 ± 0.0074" in text
