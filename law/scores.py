"""How well predicted energies agree with measured ones, and how held-out rows are chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .data import Array

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Scores:
    """Agreement of n predictions.

    ``r2`` and ``pearson`` are of the logarithms (the laws are fitted there and the study plots
    there), ``spearman`` of the ranks; ``mape`` is a fraction.
    """

    n: int
    r2: float
    mae_j: float
    mape: float
    pearson: float
    spearman: float


def score(actual_j: ArrayLike, predicted_j: ArrayLike) -> Scores:
    """Scores of positive energies.

    Raises:
        ValueError: unequal lengths or fewer than two values.
    """
    from scipy.stats import pearsonr, spearmanr

    actual, predicted = np.asarray(actual_j, dtype=float), np.asarray(predicted_j, dtype=float)
    if len(actual) != len(predicted) or len(actual) < 2:
        raise ValueError(f"pairs needed, at least two: got {len(actual)} and {len(predicted)}")
    log_actual, log_predicted = np.log(actual), np.log(predicted)
    residual = np.sum((log_actual - log_predicted) ** 2)
    spread = np.sum((log_actual - log_actual.mean()) ** 2)
    return Scores(
        n=len(actual),
        r2=float(1 - residual / spread) if spread > 0 else float("nan"),
        mae_j=float(np.mean(np.abs(predicted - actual))),
        mape=float(np.mean(np.abs(predicted / actual - 1))),
        pearson=float(pearsonr(log_actual, log_predicted).statistic),
        spearman=float(spearmanr(actual, predicted).statistic),
    )


class Law(Protocol):
    """Anything fitted that predicts joules with an interval."""

    def predict(self, frame: pd.DataFrame, confidence: float = 0.9) -> pd.DataFrame:
        """Columns value, low, high, note; index as ``frame``'s."""
        ...


Fold = tuple[str, Array]
"""What is held out, and a mask of its rows."""


def k_fold(rows: int, k: int, seed: int = 0) -> Iterator[Fold]:
    """``k`` random parts of nearly equal size."""
    part = np.random.default_rng(seed).permutation(rows) % k
    for index in range(k):
        yield f"fold {index + 1}", part == index


def leave_one_out(labels: pd.Series) -> Iterator[Fold]:
    """Each distinct label in turn: leave-one-model-out, leave-one-GPU-out."""
    for label in labels.drop_duplicates():
        yield str(label), (labels == label).to_numpy()


def held_out(
    frame: pd.DataFrame,
    fit: Callable[[pd.DataFrame], Law],
    folds: Iterator[Fold],
    confidence: float = 0.9,
) -> pd.DataFrame:
    """Predictions of every fold by a law fitted to the rest.

    Columns: held_out, architecture, actual_j, value, low, high, covered.

    Raises:
        ValueError: what ``fit`` or ``predict`` raise, for example where a fold holds the only rows
            of a GPU.
    """
    import pandas as pd

    parts = []
    for label, mask in folds:
        test = frame[mask]
        predicted = fit(frame[~mask]).predict(test, confidence)
        part = pd.DataFrame(
            {
                "held_out": label,
                "architecture": test["architecture"],
                "actual_j": test["energy_j"],
                "value": predicted["value"],
                "low": predicted["low"],
                "high": predicted["high"],
            }
        )
        parts.append(part)
    result = pd.concat(parts)
    result["covered"] = (result["low"] <= result["actual_j"]) & (
        result["actual_j"] <= result["high"]
    )
    return result
