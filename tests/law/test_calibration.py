"""The law on another card, from few runs."""

import numpy as np
import pytest

from wattbench import law
from wattbench.law import calibration

from .plans import frame_of


def found(table):
    return law.observations(table)


def predicted(fitted, architecture, edge_px, steps, cfg, confidence=0.9):
    frame = frame_of(architecture, fitted.domain.gpu, edge_px, edge_px, steps, cfg=cfg)
    return fitted.predict(frame, confidence).iloc[0]


def test_a_card_that_is_a_multiple_of_the_a100_is_found(published, runs_table, varied):
    table = runs_table(published, varied, factor=3.0)
    card = law.calibrate(found(table), published)
    assert card.warnings == ()
    for shape, joules in zip(varied, table["energy_j"], strict=True):
        assert predicted(card.law, *shape)["value"] == pytest.approx(joules, rel=0.02)
    unseen = ("sd35", 768, 25, 4.5)
    truth = 3.0 * predicted(published, *unseen)["value"]
    row = predicted(card.law, *unseen)
    assert row["value"] == pytest.approx(truth, rel=0.05)
    assert row["low"] < truth < row["high"]
    assert row["note"] == "sd35 was not measured"


def test_seconds_follow_the_power_of_the_runs(published, runs_table, varied):
    table = runs_table(published, varied, factor=2.0)
    seconds = law.calibrate(found(table), published, unit="s").law
    assert seconds.unit == "s"
    for shape, joules in zip(varied, table["energy_j"], strict=True):
        assert predicted(seconds, *shape)["value"] == pytest.approx(joules / 250, rel=0.02)


def test_no_seconds_without_durations(published, runs_table, varied):
    table = runs_table(published, varied).assign(decode_time_s=np.nan)
    with pytest.raises(law.LawDataError, match="runs without duration_s"):
        law.calibrate(found(table), published, unit="s")


def test_few_runs_give_wide_intervals_and_say_so(published, runs_table, varied):
    few = law.calibrate(found(runs_table(published, varied[:1])), published)
    more = law.calibrate(found(runs_table(published, varied)), published)
    assert any("too few: 1 distinct" in warning for warning in few.warnings)
    shape = ("flux", 768, 20, 1.0)
    wide, narrow = (predicted(c.law, *shape) for c in (few, more))
    assert wide["high"] / wide["low"] > narrow["high"] / narrow["low"]


def test_repeats_are_not_conditions(published, runs_table, varied):
    once = runs_table(published, varied[:1])
    repeated = once.loc[[0] * 10].reset_index(drop=True)
    card = law.calibrate(found(repeated), published)
    assert card.law.n == 1
    assert any("too few" in warning for warning in card.warnings)


def test_runs_that_are_alike_are_called_so(published, runs_table):
    shapes = [("sdxl", 1024, steps, 7.0) for steps in (20, 25, 30)]
    card = law.calibrate(found(runs_table(published, shapes)), published)
    assert any("too alike" in warning for warning in card.warnings)


def test_cards_and_formats_are_not_mixed(published, runs_table, varied):
    table = runs_table(published, varied)
    two_cards = table.assign(gpu_name=["A", "B", "A", "B"])
    with pytest.raises(law.LawDataError, match="several cards: A, B"):
        law.calibrate(found(two_cards), published)
    two_formats = table.assign(weight_format=["fp16", "float8_e4m3fn", "fp16", "fp16"])
    with pytest.raises(law.LawDataError, match="several weight formats: float8_e4m3fn, fp16"):
        law.calibrate(found(two_formats), published)


def test_a_card_survives_its_file(published, runs_table, varied, tmp_path):
    runs = found(runs_table(published, varied))
    laws = {unit: law.calibrate(runs, published, unit=unit).law for unit in ("J", "s")}
    law.save(laws, tmp_path / "card.json")
    read = law.load(tmp_path / "card.json")
    for unit in ("J", "s"):
        before, after = (predicted(x[unit], "sdxl", 512, 9, 7.0) for x in (laws, read))
        assert before.equals(after)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"J": {}}', '{"J": {"domain": {}}}'])
def test_a_file_that_is_no_card_is_refused(text, tmp_path):
    path = tmp_path / "card.json"
    path.write_text(text, "utf-8")
    with pytest.raises(law.LawDataError, match="is no law"):
        law.load(path)


def test_published_cards_are_priors(published):
    card = law.published_card("RTX 3090", published)
    assert "idle power included" in card.warnings[0]
    row = predicted(card.law, "sdxl", 1024, 30, 7.0)
    assert row["low"] < 3.6e6 / 1344.95 < row["high"]
    with pytest.raises(law.LawDataError, match="no published data of RTX 4090"):
        law.published_card("RTX 4090", published)
    with pytest.raises(law.LawDataError, match="no data of the dtype fp32"):
        card.law.predict(frame_of("sdxl", "RTX 3090", 1024, 1024, 30, dtype="fp32"))


def test_one_workload_of_a_card_covers_the_other(published):
    """SDXL from Z-Image and Z-Image from SDXL, on the five cards that have both."""
    table = law.read_table(calibration.EDGE_NODES_CSV)
    pairs = [part for _, part in table.groupby("gpu") if len(part) == 2]
    assert len(pairs) == 5
    for part in pairs:
        for known in (0, 1):
            rows = calibration.edge_frame(part.iloc[[known]])
            card = law.calibrate(law.Observations(rows), published)
            other = calibration.edge_frame(part.iloc[[1 - known]])
            row = card.law.predict(other, 0.9).iloc[0]
            assert row["low"] <= other["energy_j"].iloc[0] <= row["high"]
