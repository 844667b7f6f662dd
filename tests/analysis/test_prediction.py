"""The forecast stands beside what was measured, with its error."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from wattbench.analysis.prediction import prediction_notes
from wattbench.measure.protocol.journal import dumps, parse
from wattbench.records import Prediction
from wattbench.report import append_runs, read_runs, runs_frame, table_of

EXPECTED = Prediction(2500.0, 2000.0, 3000.0, 0.9, "J", "operator law of RTX 3090")


def test_columns_of_a_run_with_a_forecast(make_run):
    """2400 J were measured for two images, 2500 J expected."""
    (row,) = runs_frame([make_run(predicted_energy=EXPECTED)]).to_dict("records")
    assert row["predicted_energy_j"] == 2500.0
    assert (row["predicted_energy_low_j"], row["predicted_energy_high_j"]) == (2000.0, 3000.0)
    assert row["prediction_confidence"] == 0.9
    assert row["prediction_source"] == "operator law of RTX 3090"
    assert row["prediction_error"] == pytest.approx(2400 / 2500 - 1)


def test_no_forecast_is_blank(make_run):
    (row,) = runs_frame([make_run()]).to_dict("records")
    assert row["prediction_source"] == ""
    blanks = [name for name in row if name.startswith("predict") and name != "prediction_source"]
    assert len(blanks) == 5
    assert all(pd.isna(row[name]) for name in blanks)
    assert prediction_notes(runs_frame([make_run()])) == []


def test_no_energy_is_no_error(make_run):
    run = make_run(predicted_energy=EXPECTED, energy=None, energy_note="no meter")
    frame = runs_frame([run])
    assert frame["predicted_energy_j"][0] == 2500.0
    assert pd.isna(frame["prediction_error"][0])
    assert prediction_notes(frame)[0].endswith("; no energy was measured.")


def test_the_journal_and_the_table_keep_it(tmp_path, make_run):
    run = make_run(predicted_energy=EXPECTED)
    assert parse(dumps(run) + "\n") == [run]
    append_runs([run], tmp_path)
    pd.testing.assert_frame_equal(read_runs(tmp_path / "runs.csv"), runs_frame([run]))


def test_a_journal_from_before_forecasts_is_read(make_run):
    line = re.sub(r'"predicted_energy":null,|,"crc32":"\w+"', "", dumps(make_run()))
    assert "predicted" not in line
    assert parse(line + "\n") == [make_run()]


def test_the_summary_says_how_good_the_forecast_was(make_run):
    runs = [
        make_run(str(i), denoise_s=10.0 + i / 10, repeat=i, predicted_energy=EXPECTED)
        for i in range(3)
    ]
    runs.append(make_run("w", denoise_s=90.0, is_warmup=True, predicted_energy=EXPECTED))
    (note,) = (n for n in table_of(runs_frame(runs)).notes if n.startswith("Forecast"))
    assert "1250 J/img (1000 to 1500, 90% interval, operator law of RTX 3090)" in note
    # 12.1 s at 200 W for two images; 10 J between repeats, t = 4.303, n = 3.
    assert "measured 1210 ± 25: -3.2%, within the interval." in note


def test_over_visits_the_forecast_is_held_to_their_means(make_run):
    """12 s and 13 s at 200 W for two images: 1200 and 1300 J, of three runs each."""
    runs = [
        make_run(f"{visit}{i}", denoise_s=9.0 + visit, visit=visit, predicted_energy=EXPECTED)
        for visit in (1, 2)
        for i in range(3)
    ]
    assert "measured 1200 ± 600:" in prediction_notes(runs_frame(runs))[0]


def test_a_miss_and_an_estimate_are_called_so(make_run):
    miss = make_run("a", denoise_s=90.0, predicted_energy=EXPECTED)
    assert "outside the interval" in prediction_notes(runs_frame([miss]))[0]
    run = make_run("b", predicted_energy=EXPECTED)
    phases = [replace(p, energy=replace(p.energy, method="estimated")) for p in run.phases]
    guess = replace(run, phases=tuple(phases))
    assert "; estimated 1200" in prediction_notes(runs_frame([guess]))[0]
