"""The law for all architectures: its error and its intervals on what it has not seen."""

import numpy as np
import pytest

from wattbench import law
from wattbench.law import operators

from .plans import frame_of


@pytest.fixture(scope="module")
def on_unseen_models(study):
    return law.held_out(study, law.fit_operators, law.leave_one_out(study["architecture"]))


def mape(result):
    return (result["value"] / result["actual_j"] - 1).abs().mean()


@pytest.mark.parametrize("convention", ["paper", "exact"])
def test_half_the_error_of_equation_3_on_an_unseen_model(study, on_unseen_models, convention):
    models = law.leave_one_out(study["architecture"])
    equation = law.held_out(study, lambda part: law.fit_equation3(part, convention), models)
    assert mape(on_unseen_models) <= mape(equation) / 2


def test_smaller_error_than_equation_3_on_every_unseen_model(study, on_unseen_models):
    equation = law.held_out(study, law.fit_equation3, law.leave_one_out(study["architecture"]))
    ours = on_unseen_models.groupby("held_out").apply(mape)
    theirs = equation.groupby("held_out").apply(mape)
    assert (ours < theirs).all()


def test_intervals_cover_unseen_models(on_unseen_models):
    assert 0.85 <= on_unseen_models["covered"].mean() <= 0.95


def test_intervals_cover_unseen_rows(study):
    result = law.held_out(study, law.fit_operators, law.k_fold(len(study), 10))
    assert 0.85 <= result["covered"].mean() <= 0.95
    assert mape(result) < 0.05


def test_known_parameters_are_found(study):
    theta = np.log([3.0, 20.0, 40.0, 0.5, 0.01])
    frame = study.assign(energy_j=operators.evaluate(operators.work_features(study), theta))
    fitted = law.fit_operators(frame)
    assert fitted.log_parameters == pytest.approx(theta, abs=1e-5)
    assert fitted.parameters["per_tflop_32"] == pytest.approx(20.0, rel=1e-5)


def test_gradient_agrees_with_differences(study):
    features = operators.work_features(study)
    step, start = 1e-6, np.log(operators.START)
    for at in range(len(operators.PARAMETERS)):
        moved = start + step * np.eye(len(operators.PARAMETERS))[at]
        difference = np.log(operators.evaluate(features, moved))
        difference -= np.log(operators.evaluate(features, start))
        slope = operators.log_gradient(features, start)[:, at]
        assert slope == pytest.approx(difference / step, abs=1e-5)


def test_tf32_is_why_fp32_convolutions_are_cheap(study):
    """Counted as fp32 products instead, the convolutions of SD 2 and the decoders fit far worse."""
    as_designed = law.fit_operators(study)
    features = operators.work_features(study)
    narrow = (study["dtype"] == "fp32").to_numpy()
    for tensor, core in ((0, 1), (2, 3)):
        features[narrow, core] += features[narrow, tensor] / operators.TF32_COST
        features[narrow, tensor] = 0
    log_j = np.log(study["energy_j"].to_numpy())
    _, residual, _ = operators.solve(features, log_j)
    assert np.std(residual) > 2 * as_designed.residual_stdev


def plan(**changes):
    base = {"architecture": "flux", "gpu": "A100", "width_px": 1024, "height_px": 1024}
    return frame_of(**(base | {"steps": 20} | changes))


def test_interval_widens_beyond_the_data(published):
    def width(frame):
        row = published.predict(frame).iloc[0]
        return row["high"] / row["low"], row["note"]

    known, note = width(plan())
    assert note == ""
    for changes, reason in (
        ({"architecture": "sdxl"}, "sdxl was not measured"),
        ({"width_px": 2048, "height_px": 2048}, "pixels 4194304 outside the measured"),
        ({"steps": 100}, "evaluations 100 outside the measured 10 to 50"),
        ({"batch_size": 4}, "batch size 4 outside the measured 1"),
    ):
        wider, note = width(plan(**changes))
        assert wider > known
        assert reason in note


def test_never_a_number_for_a_gpu_or_a_precision_without_data(published):
    with pytest.raises(law.LawDataError, match="no data of the gpu H100"):
        published.predict(plan(gpu="H100"))
    with pytest.raises(law.LawDataError, match="no data of the dtype float8_e4m3fn"):
        published.predict(plan(dtype="float8_e4m3fn"))


def test_one_architecture_tells_nothing_of_others(study):
    fitted = law.fit_operators(study[study["architecture"] == "flux"])
    assert fitted.predict(plan())["value"].iloc[0] > 0
    with pytest.raises(law.LawDataError, match="fitted to one architecture"):
        fitted.predict(plan(architecture="sdxl"))


def test_more_costs_more(published):
    base = published.predict(plan())["value"].iloc[0]
    for changes in (
        {"steps": 21},
        {"width_px": 1040},
        {"batch_size": 2},
        {"cfg": 7.0},
        {"dtype": "fp32"},
    ):
        assert published.predict(plan(**changes))["value"].iloc[0] > base


def test_energy_per_image_falls_with_the_batch(published):
    one = published.predict(plan(width_px=256, height_px=256))["value"].iloc[0]
    four = published.predict(plan(width_px=256, height_px=256, batch_size=4))["value"].iloc[0]
    assert one < four < 4 * one


def test_data_that_cannot_tell_are_refused(study):
    with pytest.raises(law.LawDataError, match="holds for one GPU"):
        law.fit_operators(study.assign(gpu=["A", "B"] * 140))
    with pytest.raises(law.LawDataError, match="fp16 and fp32 together"):
        law.fit_operators(study[study["dtype"] == "fp16"])
    with pytest.raises(law.LawDataError, match="too few or too alike"):
        law.fit_operators(study.iloc[:4])
