"""The report: every table, and the shipped document is the current one."""

from pathlib import Path

import pytest

from wattbench.law import reproduce, scores

DOCUMENT = Path(__file__).parents[2] / "docs" / "energy-law.md"


@pytest.fixture(scope="module")
def report(study):
    return reproduce.tables(study)


def test_the_shipped_document_is_current(report):
    text = DOCUMENT.read_text("utf-8")
    assert text.split("\n## Plots")[0].rstrip() == reproduce.markdown(report).rstrip()
    for line in text.split("## Plots")[1].splitlines():
        if line.startswith("!["):
            assert (DOCUMENT.parent / line.split("](")[1].rstrip(")")).is_file()


def test_coefficients_stand_beside_the_published(report):
    table = report[0]
    differences = {(row[0], row[1]): float(row[4]) for row in table.rows}
    for model in ("Flux", "SD 3.5", "Qwen-Image"):
        for term in ("alpha", "beta_res", "R²"):
            assert abs(differences[model, term]) <= 0.025
        assert abs(differences[model, "beta_dtype"]) <= 0.01


def test_every_row_has_a_cell_for_every_heading(report):
    for table in report:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.headings)}


def test_scores_by_hand():
    result = scores.score([1.0, 10.0, 100.0], [2.0, 10.0, 50.0])
    assert result.mape == pytest.approx((1.0 + 0.0 + 0.5) / 3)
    assert result.mae_j == pytest.approx((1 + 0 + 50) / 3)
    assert result.spearman == 1.0
    assert scores.score([1, 10, 100], [1, 10, 100]).r2 == 1.0
    with pytest.raises(ValueError, match="at least two"):
        scores.score([1.0], [1.0])


def test_folds_hold_every_row_once():
    masks = [mask for _, mask in scores.k_fold(103, 10)]
    assert (sum(mask.astype(int) for mask in masks) == 1).all()
    assert {int(mask.sum()) for mask in masks} == {10, 11}
