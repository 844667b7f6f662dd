"""Train on some rows, test on others: the study's own experiment, and one on made runs."""

import numpy as np
import pandas as pd
import pytest

from wattbench import law
from wattbench.law.data import STUDY_CSV
from wattbench.law.validation import agreement, validate


@pytest.fixture(scope="module")
def table():
    return law.read_table(STUDY_CSV)


def test_it_is_the_published_experiment(table, study):
    """Figure 4: trained on Qwen-Image and SD 3.5, tested on Flux; by hand from the laws."""
    made = validate(table, ["model=qwen", "model=sd3.5"], ["model=flux"], convention="paper")
    known = study[study["architecture"].isin(["qwen_image", "sd35"])]
    flux = study[study["architecture"] == "flux"]
    predicted = law.fit_equation3(known).predict(flux)
    scores = law.score(flux["energy_j"], predicted["value"])
    found = made.agreements()["all"]
    assert (found.n, found.r2, found.mae_j, found.mape, found.pearson, found.spearman) == (
        pytest.approx((80, scores.r2, scores.mae_j, scores.mape, scores.pearson, scores.spearman))
    )
    inside = (predicted["low"] <= flux["energy_j"]) & (flux["energy_j"] <= predicted["high"])
    assert found.coverage == pytest.approx(inside.mean())
    assert set(made.rows["held_out"]) == {"model=flux"}


def test_without_a_split_each_model_is_held_out(table, study):
    made = validate(table, law="operators")
    folds = law.leave_one_out(study["architecture"])
    by_hand = law.held_out(study, law.fit_operators, folds)
    assert made.agreements()["all"].mape == pytest.approx(
        (by_hand["value"] / by_hand["actual_j"] - 1).abs().mean()
    )
    names = ["all", "model flux", "model qwen_image", "model sd2", "model sd35", "card A100"]
    assert list(made.agreements()) == names


def test_one_side_of_the_split_leaves_the_rest_to_the_other(table):
    others = ["model=sd2", "model=sd3.5", "model=qwen"]
    explicit = validate(table, others, ["model=flux"])
    for made in (validate(table, test=["model=flux"]), validate(table, train=others)):
        assert made.rows["value"].tolist() == pytest.approx(explicit.rows["value"].tolist())


def test_another_card_is_predicted_as_the_trained_one(published, runs_table, varied):
    shapes = [(*varied[0][:2], steps, 7.0) for steps in (10, 20, 40)] + varied
    runs = pd.concat(
        [runs_table(published, shapes, gpu="A"), runs_table(published, shapes, 2.0, gpu="B")],
        ignore_index=True,
    )
    made = validate(runs, ["gpu_name=A"], ["gpu_name=B"])
    assert any(note.startswith("B was not trained on: predicted as A") for note in made.notes)
    same = validate(runs[runs["gpu_name"] == "A"], test=["steps=8"])
    assert not any("not trained on" in note for note in same.notes)
    found = made.agreements()
    assert found["card B"].n == found["all"].n == 7
    assert found["card B"].spearman > 0.7
    bias = np.log(made.rows["actual_j"] / made.rows["value"]).mean()
    assert bias == pytest.approx(np.log(2.0), abs=0.05)


def test_a_calibration_is_tested_on_runs_and_not_on_its_own_prior(
    table, published, runs_table, varied
):
    runs = runs_table(published, varied, factor=3.0)
    made = validate(runs, test=["architecture=flux"], law="calibration")
    (found,) = {made.agreements()[name] for name in ("all", "model flux")}
    assert (found.n, found.coverage, found.r2, found.pearson) == (1, 1.0, None, None)
    assert found.mape < 0.05
    with pytest.raises(law.LawDataError, match="cannot be tested on them"):
        validate(table, test=["model=flux"], law="calibration")


@pytest.mark.parametrize(
    ("train", "test", "reason"),
    [
        (["model=flux"], ["dtype=fp16"], "40 rows are in both --train and --test"),
        (["model=sdxl"], [], "no row is left to train on"),
        ([], ["model=sdxl"], "no row is left to test on"),
        (["gpu=A100"], [], "no row is left to test on"),
        (["speed=1"], [], "cannot filter by 'speed=1'"),
    ],
)
def test_a_split_that_is_none_is_refused(table, train, test, reason):
    with pytest.raises(law.LawDataError, match=reason):
        validate(table, train, test)


def test_one_model_alone_cannot_be_held_out(table):
    with pytest.raises(law.LawDataError, match="one model alone, flux"):
        validate(table[table["model"] == "flux"])


def test_equal_values_have_no_correlation():
    rows = pd.DataFrame({"actual_j": [1.0, 1.0], "value": [1.0, 2.0], "covered": [True, False]})
    found = agreement(rows)
    assert (found.r2, found.pearson, found.spearman) == (None, None, None)
    assert (found.mae_j, found.mape, found.coverage) == (0.5, 0.5, 0.5)
