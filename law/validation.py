"""The published study's experiment on any table: fit to some rows, predict the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import equation3, operators
from .calibration import calibrate, published_law
from .data import STUDY_COLUMNS, Energy, LawDataError, Observations, observations, rows_where
from .flop import Convention
from .scores import Law, score

if TYPE_CHECKING:
    import pandas as pd

LawName = Literal["equation3", "operators", "calibration"]
CONFIDENCE = 0.9


@dataclass(frozen=True)
class Agreement:
    """Scores of the predictions of some rows, as :class:`.scores.Scores`; ``None``: not defined.

    ``coverage`` is the share of measurements within their 90 % intervals.
    """

    n: int
    r2: float | None
    mae_j: float
    mape: float
    pearson: float | None
    spearman: float | None
    coverage: float


@dataclass(frozen=True)
class Validation:
    """``rows`` are the predictions, one a tested row; ``notes`` say what was left out or assumed.

    Columns of ``rows``: architecture, gpu, dtype, width_px, height_px, nfe, calls, images,
    held_out, actual_j, value, low, high, covered; joules of all the row's images.
    """

    rows: pd.DataFrame
    notes: tuple[str, ...]

    def agreements(self) -> dict[str, Agreement]:
        """Of all rows, then by model, then by card."""
        found = {"all": agreement(self.rows)}
        for column, what in (("architecture", "model"), ("gpu", "card")):
            for name, part in self.rows.groupby(column, sort=True):
                found[f"{what} {name}"] = agreement(part)
        return found


def validate(
    table: pd.DataFrame,
    train: Sequence[str] = (),
    test: Sequence[str] = (),
    *,
    law: LawName = "equation3",
    convention: Convention = "exact",
    energy: Energy | None = None,
    allow_unmeasured: bool = False,
) -> Validation:
    """Fit to the rows of ``train`` and predict those of ``test``, both ``column=value``.

    One of them alone leaves the rest to the other; with neither, each model is held out in turn.
    A card that was not trained on is predicted as the one that was, which the notes say.

    Raises:
        LawDataError: rows in both, none in one, or a law that cannot be fitted to them.
    """
    if law == "calibration" and set(STUDY_COLUMNS) <= set(table):
        raise LawDataError(
            "a calibration starts from the published study's rows, so it cannot be tested on them: "
            "choose --law operators"
        )

    def seen(part: pd.DataFrame) -> Observations:
        return observations(part, allow_unmeasured, energy)

    def fitted(part: Observations) -> Law:
        if law == "equation3":
            return equation3.fit(part.frame, convention)
        if law == "operators":
            return operators.fit(part.frame)
        return calibrate(part, published_law()).law

    if not train and not test:
        return _by_model(seen(table), fitted)
    chosen = rows_where(table, train) if train else ~rows_where(table, test)
    tested = rows_where(table, test) if test else ~chosen
    if (chosen & tested).any():
        raise LawDataError(
            f"{int((chosen & tested).sum())} rows are in both --train and --test; no row may be"
        )
    for name, mask in (("train", chosen), ("test", tested)):
        if not mask.any():
            raise LawDataError(f"no row is left to {name} on")
    known, asked = seen(table[chosen]), seen(table[tested])
    rows, notes = _predicted(fitted(known), known.frame, asked.frame, " ".join(test) or "the rest")
    return Validation(rows, (*dict.fromkeys((*known.notes, *asked.notes, *notes)),))


def agreement(rows: pd.DataFrame) -> Agreement:
    """Scores of rows of :class:`Validation`."""
    actual, value = rows["actual_j"].to_numpy(dtype=float), rows["value"].to_numpy(dtype=float)
    defined = len(rows) > 1 and np.ptp(actual) > 0 and np.ptp(value) > 0
    scores: Mapping[str, float] = asdict(score(actual, value)) if defined else {}
    return Agreement(
        n=len(rows),
        r2=scores.get("r2"),
        mae_j=float(np.mean(np.abs(value - actual))),
        mape=float(np.mean(np.abs(value / actual - 1))),
        pearson=scores.get("pearson"),
        spearman=scores.get("spearman"),
        coverage=float(rows["covered"].mean()),
    )


def _by_model(found: Observations, fitted: Callable[[Observations], Law]) -> Validation:
    import pandas as pd

    frame = found.frame
    models = list(dict.fromkeys(frame["architecture"]))
    if len(models) < 2:
        raise LawDataError(
            f"one model alone, {models[0]}: say with --train and --test which rows are for which"
        )
    parts, notes = [], list(found.notes)
    for model in models:
        held = frame["architecture"] == model
        known = Observations(frame[~held], (), found.basis, found.energy)
        rows, said = _predicted(fitted(known), known.frame, frame[held], model)
        parts.append(rows)
        notes += said
    return Validation(pd.concat(parts, ignore_index=True), tuple(dict.fromkeys(notes)))


def _predicted(
    law: Law, known: pd.DataFrame, asked: pd.DataFrame, held_out: str
) -> tuple[pd.DataFrame, list[str]]:
    """The asked rows beside their predictions, and for which cards another one stood in."""
    trained = known["gpu"].value_counts().index
    strange = sorted(set(asked["gpu"]) - set(trained))
    notes = [
        f"{gpu} was not trained on: predicted as {trained[0]}, so R², MAE and MAPE have the "
        "difference of the cards in them"
        for gpu in strange
    ]
    stood_in = asked.assign(gpu=asked["gpu"].where(asked["gpu"].isin(trained), trained[0]))
    predicted = law.predict(stood_in, CONFIDENCE)
    names = ["architecture", "gpu", "dtype", "width_px", "height_px", "nfe", "calls", "images"]
    ends: dict[str, Any] = {name: predicted[name] for name in ("value", "low", "high")}
    rows = asked[names].assign(held_out=held_out, actual_j=asked["energy_j"], **ends)
    rows["covered"] = (rows["low"] <= rows["actual_j"]) & (rows["actual_j"] <= rows["high"])
    return rows.reset_index(drop=True), notes
