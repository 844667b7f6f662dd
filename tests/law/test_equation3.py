"""Equation 3 against what arXiv 2511.17031v2 prints, and against known answers."""

import numpy as np
import pytest
from scipy.stats import linregress
from scipy.stats import t as student_t

from wattbench import law
from wattbench.law import data, equation3

PUBLISHED = [
    # architecture, alpha, beta_dtype, beta_res, r2
    ("flux", 0.989, 2.04, -0.043, 1.0),
    ("sd35", 0.969, 1.90, -0.054, 0.998),
    ("qwen_image", 0.992, None, -0.306, 0.994),
]
SPLITS = [
    (("qwen_image", "sd35"), ("flux",)),
    (("flux", "sd35"), ("qwen_image",)),
    (("flux", "qwen_image"), ("sd35",)),
    (("qwen_image", "sd2"), ("flux", "sd35")),
    (("flux", "qwen_image", "sd35"), ("sd2",)),
    (("sd35", "flux"), ("sd2", "qwen_image")),
]


def of(frame, *architectures):
    return frame[frame["architecture"].isin(architectures)]


@pytest.mark.parametrize(("architecture", "alpha", "beta_dtype", "beta_res", "r2"), PUBLISHED)
def test_published_coefficients(study, architecture, alpha, beta_dtype, beta_res, r2):
    fitted = law.fit_equation3(of(study, architecture))
    assert fitted.coefficient("alpha").value == pytest.approx(alpha, abs=0.025)
    assert fitted.coefficient("beta_res").value == pytest.approx(beta_res, abs=0.025)
    assert fitted.scores.r2 == pytest.approx(r2, abs=0.025)
    if beta_dtype is None:
        assert fitted.coefficient("beta_dtype").value is None
    else:
        assert fitted.coefficient("beta_dtype").value == pytest.approx(beta_dtype, abs=0.01)


@pytest.mark.parametrize(("train", "test"), SPLITS)
@pytest.mark.parametrize("resolution_term", [True, False])
def test_ranking_carries_over_to_other_models(study, train, test, resolution_term):
    fitted = law.fit_equation3(of(study, *train), resolution_term=resolution_term)
    unseen = of(study, *test)
    scores = law.score(unseen["energy_j"], fitted.predict(unseen)["value"])
    assert scores.pearson > 0.9
    assert scores.spearman > 0.9


@pytest.mark.parametrize("architecture", ["flux", "sd35", "qwen_image", "sd2"])
def test_two_fold_cross_validation_within_a_model(study, architecture):
    part = of(study, architecture)
    result = law.held_out(part, law.fit_equation3, law.k_fold(len(part), 2))
    assert law.score(result["actual_j"], result["value"]).r2 > 0.9


def test_known_coefficients_are_found(study):
    """Energies made by the equation itself, on two GPUs."""
    frame = study.copy()
    frame.loc[frame.index % 2 == 0, "gpu"] = "A6000"
    truth = {"log_a": -20.0, "alpha": 0.9, "beta_dtype": 2.0, "beta_res": -0.1}
    log_kwh = (
        truth["log_a"]
        + truth["alpha"] * np.log(equation3.denoise_flops(frame, "exact") / 1e9)
        + truth["beta_dtype"] * (frame["dtype"] == "fp32")
        + truth["beta_res"] * np.log(frame["width_px"] * frame["height_px"] / 256)
        + 0.45 * (frame["gpu"] == "A6000")
    )
    frame["energy_j"] = np.exp(log_kwh) * 3.6e6
    # The GPU with most rows is the baseline; equal counts would leave that to chance.
    fitted = law.fit_equation3(frame.iloc[1:], "exact")
    assert fitted.base_gpu == "A100"
    for name, value in truth.items():
        assert fitted.coefficient(name).value == pytest.approx(value, abs=1e-6)
    assert fitted.coefficient("beta_gpu:A6000").value == pytest.approx(0.45, abs=1e-6)


def test_standard_errors_are_those_of_least_squares(study):
    part = of(study, "qwen_image")
    fitted = law.fit_equation3(part, resolution_term=False)
    x = np.log(equation3.denoise_flops(part, "paper") / 1e9)
    reference = linregress(x, np.log(part["energy_j"] / 3.6e6))
    assert fitted.coefficient("alpha").value == pytest.approx(reference.slope)
    assert fitted.coefficient("alpha").standard_error == pytest.approx(reference.stderr)
    assert fitted.coefficient("log_a").standard_error == pytest.approx(reference.intercept_stderr)
    assert fitted.scores.r2 == pytest.approx(reference.rvalue**2)


def test_an_interval_is_of_90_percent_unless_another_is_asked_for(study):
    fitted = law.fit_equation3(of(study, "flux"))
    rows = of(study, "flux").iloc[:5]
    assert fitted.predict(rows).equals(fitted.predict(rows, 0.9))


def test_wider_for_more_confidence(study):
    fitted = law.fit_equation3(of(study, "flux"))
    half, most = (fitted.predict(study.iloc[:5], level) for level in (0.5, 0.95))
    assert (most["low"] < half["low"]).all()
    assert (half["high"] < most["high"]).all()
    assert ((half["low"] < half["value"]) & (half["value"] < half["high"])).all()


def test_a_gpu_without_data_is_refused(study):
    fitted = law.fit_equation3(study)
    with pytest.raises(law.LawDataError, match="no data of the GPU H100"):
        fitted.predict(study.head(1).assign(gpu="H100"))


def test_a_precision_without_data_is_refused(study):
    fitted = law.fit_equation3(of(study, "qwen_image"))
    with pytest.raises(law.LawDataError, match="no data of the precision fp32"):
        fitted.predict(study[study["dtype"] == "fp32"].head(1))


def test_too_few_or_too_alike_is_refused(study):
    with pytest.raises(law.LawDataError, match="too few or too alike"):
        law.fit_equation3(study.head(3))
    with pytest.raises(law.LawDataError, match="too few or too alike"):
        law.fit_equation3(study.loc[[0] * 9])


def test_leave_one_gpu_out_is_refused(study):
    """One-hot GPUs cannot carry over to a GPU without data; nor is there a second in the data."""
    frame = study.copy()
    frame.loc[frame.index % 2 == 0, "gpu"] = "A6000"
    with pytest.raises(law.LawDataError, match="no data of the GPU"):
        law.held_out(frame, law.fit_equation3, law.leave_one_out(frame["gpu"]))


def test_an_architecture_without_the_papers_formula_is_refused(study):
    frame = study.assign(architecture="sdxl", context_rows=77)
    with pytest.raises(law.LawDataError, match="architecture in 'paper' sdxl"):
        law.fit_equation3(frame)
    assert law.fit_equation3(frame, "exact").scores.n == len(frame)


def test_the_shipped_tables_are_whole():
    assert len(data.read_table(data.STUDY_CSV)) == 280
    assert len(data.read_table(data.EDGE_NODES_CSV)) == 13


@pytest.mark.parametrize("convention", ["paper", "exact"])
def test_the_prediction_interval_is_that_of_a_straight_line(study, convention):
    """The textbook's: t s sqrt(1 + 1/n + (x - mean x)^2 / Sxx), for one size and precision."""
    part = of(study, "flux")
    part = part[(part["dtype"] == "fp16") & (part["width_px"] == 512) & (part["height_px"] == 512)]
    noise = np.random.default_rng(5).normal(0, 0.2, len(part))
    part = part.assign(energy_j=part["energy_j"] * np.exp(noise))
    fitted = law.fit_equation3(part, convention)
    assert fitted.names == ("log_a", "alpha")
    x = np.log(equation3.denoise_flops(part, convention) / 1e9)
    y = np.log(part["energy_j"].to_numpy() / 3.6e6)
    line = linregress(x, y)
    n = len(part)
    s = np.sqrt(np.sum((y - line.intercept - line.slope * x) ** 2) / (n - 2))
    spread = 1 + 1 / n + (x - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2)
    half = student_t.ppf(0.95, n - 2) * s * np.sqrt(spread)
    middle = line.intercept + line.slope * x
    found = fitted.predict(part, 0.9)
    for column, log_kwh in (("value", middle), ("low", middle - half), ("high", middle + half)):
        assert found[column].to_numpy() == pytest.approx(np.exp(log_kwh) * 3.6e6)
    assert set(found["note"]) == {""}


@pytest.mark.parametrize(("sizes", "has_term"), [((512,), False), ((512, 1024), True)])
def test_two_sizes_are_enough_for_their_term(study, sizes, has_term):
    part = of(study, "flux")
    part = part[part["width_px"].isin(sizes) & (part["width_px"] == part["height_px"])]
    assert ("beta_res" in law.fit_equation3(part).names) == has_term


def test_what_is_not_known_is_named(study):
    part = of(study, "flux")
    with pytest.raises(law.LawDataError, match="no data of the precision fp8; there are fp16"):
        law.fit_equation3(part.assign(dtype="fp8"))
    with pytest.raises(law.LawDataError, match="no data of the GPU moth"):
        law.fit_equation3(part).predict(part.assign(gpu="moth"))
