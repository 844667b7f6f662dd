"""The law on another card, from few runs."""

import numpy as np
import pandas as pd
import pytest

from wattbench import law
from wattbench.law import calibration, operators

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


def pairs():
    """What one workload of a published card says of another: known rows, asked row."""
    for card, rows in calibration.edge_rows().groupby("gpu", sort=False):
        z_image = rows[rows["dtype"] == calibration.FP8]
        for at in rows.index[rows["dtype"] == "fp16"]:
            yield card, z_image, rows.loc[[at]]
            yield card, rows.loc[[at]], z_image


def covered(published, cards):
    """Whether each pair's 90 % interval covers the asked row."""
    found = []
    for card, known, asked in pairs():
        if card in cards:
            has_fp8 = card in calibration.CARDS_WITH_FP8
            formats = {"fp16", calibration.FP8} if has_fp8 else set(asked["dtype"])
            edge = calibration.edge_law(known, frozenset(formats), published)
            row = edge.predict(asked, 0.9).iloc[0]
            found.append(bool(row["low"] <= asked["energy_j"].iloc[0] <= row["high"]))
    return found


def test_one_workload_of_a_card_covers_the_other(published):
    """SDXL from Z-Image and Z-Image from SDXL: six cards, one of them under two softwares."""
    cards = set(calibration.edge_rows()["gpu"])
    assert len(cards) == 6
    assert covered(published, cards) == [True] * 14


def test_the_spreads_are_no_wider_than_the_pairs_need(published, monkeypatch):
    cards = set(calibration.edge_rows()["gpu"])
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "EMULATED_STDEV", calibration.EMULATED_STDEV - 0.1)
        assert not all(covered(published, cards))
    monkeypatch.setattr(calibration, "OWN_STDEV", calibration.OWN_STDEV - 0.1)
    assert not all(covered(published, calibration.CARDS_WITH_FP8))


def test_one_card_under_two_softwares_is_one_card(published):
    rows = calibration.edge_rows()
    radeon = rows[rows["gpu"] == "Radeon Pro VII"]
    assert list(radeon["software"]) == ["", "Forge", "Neo"]
    assert list(radeon["dtype"]) == [calibration.FP8, "fp16", "fp16"]
    card = law.published_card("Radeon Pro VII", published)
    sdxl = card.law.predict(radeon[radeon["dtype"] == "fp16"])
    assert sdxl["value"].iloc[0] == pytest.approx(
        (3.6e6 / 455.85 * 3.6e6 / 476.95) ** 0.5, rel=0.02
    )
    assert (sdxl["low"] < 3.6e6 / 476.95).all() and (sdxl["high"] > 3.6e6 / 455.85).all()
    assert any("Forge and Neo" in warning for warning in card.warnings)


def test_fp8_of_a_card_without_it_is_a_law_of_its_own(published):
    """The Radeon's converted FP8 costs five times what its 16 bits make of the same work."""
    card = law.published_card("Radeon Pro VII", published)
    row = 3.6e6 / 150.2
    shape = ("z_image", "Radeon Pro VII", 1024, 1024, 8)
    fp8 = card.emulated.predict_one(law.planned(*shape, dtype=calibration.FP8, text_tokens=58))
    assert fp8[1] < row < fp8[2]
    assert fp8[0] == pytest.approx(row, rel=0.02)
    sixteen = card.law.predict_one(law.planned(*shape, text_tokens=58))
    assert sixteen[2] < row
    assert "z_image was not measured" in sixteen[3]
    with pytest.raises(law.LawDataError, match="no data of the dtype float8_e4m3fn"):
        card.law.predict_one(law.planned(*shape, dtype=calibration.FP8))
    assert law.published_card("RTX 5090", published).emulated is None


def grid(gpu="Test Card"):
    """64 runs of four models, as a table of runs."""
    shapes = [
        law.planned(architecture, gpu, edge, edge, steps, cfg=cfg)
        for architecture, cfg in (("sdxl", 7.0), ("z_image", 1.0), ("flux", 1.0), ("sd35", 4.5))
        for edge in (512, 768, 1024, 1280)
        for steps in (8, 16, 24, 32)
    ]
    frame = pd.DataFrame(shapes).assign(duration_s=np.nan)
    frame["context_rows"] = pd.array([None] * len(frame), dtype="Int64")
    return frame


@pytest.mark.parametrize("scatter", [0.05, 0.15, 0.3, 0.5])
def test_the_interval_is_as_wide_as_the_runs_scatter(published, scatter):
    """A card whose conditions lie ``scatter`` off the form: 12 are known, the rest are asked."""
    frame = grid()
    truth = np.log(3 * operators.evaluate(operators.work_features(frame), published.log_parameters))
    random = np.random.default_rng(7)
    held, stdevs = [], []
    for _ in range(25):
        joules = np.exp(truth + random.normal(0, scatter, len(frame)))
        measured = frame.assign(energy_j=joules)
        known = random.permutation(len(frame))[:12]
        card = law.calibrate(law.Observations(measured.iloc[known]), published).law
        inside = [not card.domain.novelty(row) for row in measured.to_dict("records")]
        asked = measured[np.asarray(inside) & ~measured.index.isin(known)]
        predicted = card.predict(asked, 0.9)
        held += list(
            (predicted["low"] <= asked["energy_j"]) & (asked["energy_j"] <= predicted["high"])
        )
        stdevs.append(card.residual_stdev)
    assert 0.85 <= np.mean(held) <= 0.95
    assert min(stdevs) >= published.residual_stdev
    assert np.median(stdevs) == pytest.approx(scatter, rel=0.35)


def test_runs_that_do_not_fit_the_form_are_called_so(published):
    frame = grid().iloc[::5]
    joules = 3 * operators.evaluate(operators.work_features(frame), published.log_parameters)
    fitting = law.calibrate(law.Observations(frame.assign(energy_j=joules)), published)
    assert (fitting.law.residual_stdev, fitting.law.degrees_of_freedom) == (
        published.residual_stdev, published.degrees_of_freedom,
    )  # fmt: skip
    assert not any("form" in warning for warning in fitting.warnings)
    scattered = joules * np.exp(np.random.default_rng(3).normal(0, 0.4, len(frame)))
    off = law.calibrate(law.Observations(frame.assign(energy_j=scattered)), published)
    assert any("the form does not fit" in warning for warning in off.warnings)
    assert 1 <= off.law.degrees_of_freedom < len(frame)
    assert off.law.novel_degrees_of_freedom <= published.novel_degrees_of_freedom


def test_the_interval_of_an_unseen_model_is_the_one_that_was_tested(study, published):
    """Leave-one-model-out of four models tests laws of three, on two degrees of freedom."""
    models = list(study["architecture"].unique())
    tested = law.fit_operators(study[study["architecture"] != models[0]])
    assert published.novel_degrees_of_freedom == tested.novel_degrees_of_freedom == 2
    assert law.card_named("A100").laws["J"].novel_degrees_of_freedom == 2


@pytest.mark.parametrize("energy", ["net", "denoise"])
def test_the_law_of_an_energy_is_of_that_energy(published, runs_table, varied, energy):
    """Net: 50 W of idle power in the gross energy. Denoising: its own work and seconds."""
    table = runs_table(published, varied, factor=2.0)
    net = table["energy_j"].copy()
    table["energy_j"] = net * 1.2
    table["energy_net_j"] = net
    runs = law.observations(table.assign(denoise_energy_j=0.9 * net), energy=energy)
    card = law.calibrate(runs, published).law
    assert (runs.energy, card.energy) == (energy, energy)
    shape = ("flux", 768, 20, 1.0)
    expected = net.iloc[3] * (1 if energy == "net" else 0.9)
    assert predicted(card, *shape)["value"] == pytest.approx(expected, rel=0.03)
    seconds = law.calibrate(runs, published, unit="s").law
    share = 1 if energy == "net" else 0.95
    assert predicted(seconds, *shape)["value"] == pytest.approx(share * net.iloc[3] / 250, rel=0.03)
    assert law.calibration.from_json(law.calibration.as_json({"J": card}))["J"].energy == energy
