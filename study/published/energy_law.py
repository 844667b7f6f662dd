"""The energy law's Table 1, validation and settings, from a user's own runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.analysis import Analysis
from ...law import Observations, fit_equation3, k_fold, observations, read_table
from ...law import score as score_of
from ...law.data import PUBLISHED_CSV
from ...law.flop import Convention
from ...law.reproduce import TABLE_1, TITLES
from ...tables.table import BLANK, Table
from .page import Figure, Section, StudyPage, number

if TYPE_CHECKING:
    import pandas as pd

TERMS = {"log_a": "log A", "alpha": "alpha", "beta_dtype": "beta_dtype", "beta_res": "beta_res"}
FOLDS = 2


def sections(analysis: Analysis) -> Sequence[Section]:
    try:
        found = observations(analysis.frame, allow_unmeasured=True)
    except ValueError as error:
        empty = Table(("Model", "Term", "Yours", "Published"), ())
        return [Section("Table 1: coefficients", empty, (f"No law: {error}.",))]
    return [_coefficients(found), _validation(found), _settings(found.frame)]


def _coefficients(found: Observations) -> Section:
    published = read_table(PUBLISHED_CSV, ("table=1",)).set_index("model")
    rows, notes = [], [*found.notes]
    for architecture, part in found.frame.groupby("architecture", sort=False):
        name = TABLE_1.get(str(architecture))
        try:
            fitted = fit_equation3(part, "paper" if name else "exact")
        except ValueError as error:
            notes.append(f"{title(architecture)} has no fit: {error}")
            continue
        for key, label in TERMS.items():
            own = fitted.coefficient(key)
            column = "beta_fp32" if key == "beta_dtype" else key
            theirs = float(published.loc[name, column]) if name else None
            spread = "" if own.standard_error is None else f" ± {own.standard_error:.3f}"
            value = "not in the fit" if own.value is None else f"{own.value:.3f}{spread}"
            rows.append((title(architecture), label, value, number(theirs)))
        r2 = float(published.loc[name, "r2"]) if name else None
        rows.append((title(architecture), "R²", f"{fitted.scores.r2:.3f}", number(r2)))
    if found.basis != "measured":
        notes.append(f"Energies are {found.basis}: this is no measurement.")
    notes.append(
        f"Energies are {found.energy}; the published ones are net of idle power, of an A100. The "
        "constant is that of the card."
    )
    return Section(
        "Table 1: coefficients of equation 3, ± standard error",
        Table(("Model", "Term", "Yours", "Published"), tuple(rows)),
        tuple(notes),
    )


def _validation(found: Observations) -> Section:
    rows, notes, points = [], [], {}
    for architecture, part in found.frame.groupby("architecture", sort=False):
        convention: Convention = "paper" if str(architecture) in TABLE_1 else "exact"
        predicted = np.full(len(part), np.nan)
        try:
            for _, held in k_fold(len(part), FOLDS):
                fitted = fit_equation3(part[~held], convention)
                predicted[held] = fitted.predict(part[held])["value"]
            scores = score_of(part["energy_j"], predicted)
        except ValueError as error:
            notes.append(f"{title(architecture)} cannot be split: {error}")
            continue
        points[title(architecture)] = (part["energy_j"].to_numpy(), predicted)
        figures = (scores.r2, scores.pearson, scores.spearman)
        rows.append(
            (
                title(architecture),
                str(scores.n),
                *(f"{x:.3f}" for x in figures),
                f"{scores.mape:.1%}",
                "above 0.9",
            )
        )
    headings = ("Model", "n", "R²", "Pearson", "Spearman", "MAPE", "Published R²")
    notes.append("Two halves at random, each predicted by the law of the other.")
    drawn = Figure(
        "figure2_within_one_model.svg",
        "Figure 2: predicted against measured energy, each half by the law of the other",
        partial(_draw_points, points),
        6.0,
    )
    table = Table(headings, tuple(rows))
    figures_of = (drawn,) if points else ()
    return Section("Figure 2: within one model", table, tuple(notes), figures_of)


def _draw_points(points: Mapping[str, tuple[Any, Any]], axes: Any) -> None:
    """A colour for each model, and the line on which a prediction is right."""
    ends: list[float] = []
    for name, (measured_j, predicted_j) in points.items():
        axes.loglog(measured_j, predicted_j, "o", markersize=4, label=name)
        ends += [float(measured_j.min()), float(measured_j.max())]
    axes.plot([min(ends), max(ends)], [min(ends), max(ends)], "k-", linewidth=0.8)
    axes.set_xlabel("Measured, J of all images of a row")
    axes.set_ylabel("Predicted, J")
    axes.legend()


def _settings(frame: pd.DataFrame) -> Section:
    """What each setting costs, over the cheapest of its model, as Figure 6 has it for Flux."""
    keys = ["width_px", "height_px", "nfe", "dtype", "calls"]
    rows = []
    for architecture, part in frame.groupby("architecture", sort=False):
        per_image = part.assign(j=part["energy_j"] / part["images"])
        means = per_image.groupby(keys, sort=True)["j"].mean()
        least = means.min()
        for (width, height, evaluations, dtype, calls), joules in means.items():
            rows.append(
                (
                    title(architecture),
                    f"{width:.0f}x{height:.0f}",
                    f"{evaluations:.0f}",
                    str(dtype),
                    "yes" if calls > 1 else "no",
                    f"{joules:.4g}" if joules == joules else BLANK,
                    f"{joules / least:.2f}",
                )
            )
    headings = ("Model", "Size", "Evaluations", "Dtype", "Guidance", "J/img", "× the cheapest")
    return Section("Figure 6: what each setting costs", Table(headings, tuple(rows)))


def title(architecture: object) -> str:
    return TITLES.get(str(architecture), str(architecture))


ENERGY_LAW = StudyPage(
    "energy-law",
    "Your runs beside the energy law",
    "Published: arXiv 2511.17031v2, one A100, 100 prompts a row. Predict runs of your own with "
    "`wattbench law calibrate`, split them otherwise with `wattbench law validate`.",
    sections,
)
