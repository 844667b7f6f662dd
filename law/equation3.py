"""Equation 3 of arXiv 2511.17031v2: a straight line in logarithms.

log(E / kWh) = log A + alpha log(GFLOPs of all evaluations) + beta_dtype [fp32] + beta_gpu [GPU]
+ beta_res log(W H / 256), natural logarithms, by ordinary least squares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..stats import student_t
from .cost import JOULES_PER_KWH
from .data import Array, LawDataError, per_shape
from .flop import FORMULAS, PAPER_FORMULAS, Convention
from .scores import Scores, score

if TYPE_CHECKING:
    import pandas as pd

FLOPS_PER_GFLOP = 1e9
BASE_DTYPE, OTHER_DTYPE = "fp16", "fp32"


@dataclass(frozen=True)
class Coefficient:
    """A fitted value with its standard error; both ``None`` where the data do not tell."""

    value: float | None
    standard_error: float | None


@dataclass(frozen=True)
class Equation3:
    """A fit of equation 3, able to predict.

    ``names`` are the columns that were fitted, in the order of ``beta`` and ``covariance``;
    ``residual_stdev`` is that of log E.
    """

    convention: Convention
    base_gpu: str
    gpus: tuple[str, ...]
    dtypes: frozenset[str]
    names: tuple[str, ...]
    beta: Array
    covariance: Array
    residual_stdev: float
    degrees_of_freedom: int
    scores: Scores

    def coefficient(self, name: str) -> Coefficient:
        """``log_a``, ``alpha``, ``beta_dtype``, ``beta_res`` or ``beta_gpu:NAME``."""
        if name not in self.names:
            return Coefficient(None, None)
        at = self.names.index(name)
        return Coefficient(float(self.beta[at]), float(np.sqrt(self.covariance[at, at])))

    def predict(self, frame: pd.DataFrame, confidence: float = 0.9) -> pd.DataFrame:
        """Joules with prediction intervals; the note is empty, the equation knows no novelty.

        Raises:
            LawDataError: a GPU or a precision that was not fitted.
        """
        import pandas as pd

        _refuse_unknown(frame["gpu"], self.gpus, "GPU")
        _refuse_unknown(frame["dtype"], self.dtypes, "precision")
        design = _design(frame, self.convention, self.names)
        log_kwh = design @ self.beta
        spread = np.einsum("ij,jk,ik->i", design, self.covariance, design)
        half = student_t(self.degrees_of_freedom, confidence) * np.sqrt(
            spread + self.residual_stdev**2
        )
        columns = {"value": log_kwh, "low": log_kwh - half, "high": log_kwh + half}
        joules = {name: np.exp(column) * JOULES_PER_KWH for name, column in columns.items()}
        return pd.DataFrame({**joules, "note": ""}, index=frame.index)


def fit(
    frame: pd.DataFrame, convention: Convention = "paper", resolution_term: bool = True
) -> Equation3:
    """Fit equation 3 to observations.

    A term that the data cannot tell (one precision, one GPU, one resolution) is left out; the
    study prints 0 for it.

    Raises:
        LawDataError: fewer rows than terms and one, an architecture without a formula in the
            convention, a quantized format, or no variation in FLOPs.
    """
    _refuse_unknown(frame["dtype"], (BASE_DTYPE, OTHER_DTYPE), "precision")
    counts = frame["gpu"].value_counts()
    base_gpu = str(counts.index[0])
    others = tuple(sorted(str(gpu) for gpu in counts.index[1:]))
    names = ["log_a", "alpha"]
    if frame["dtype"].nunique() > 1:
        names.append("beta_dtype")
    names += [f"beta_gpu:{gpu}" for gpu in others]
    if resolution_term and (frame["width_px"] * frame["height_px"]).nunique() > 1:
        names.append("beta_res")
    design = _design(frame, convention, tuple(names))
    if len(frame) <= len(names) or np.linalg.matrix_rank(design) < len(names):
        raise LawDataError(
            f"{len(frame)} rows are too few or too alike for the {len(names)} terms "
            f"{', '.join(names)}: add runs that differ in steps, resolution and precision"
        )
    log_kwh = np.log(frame["energy_j"].to_numpy(dtype=float) / JOULES_PER_KWH)
    beta, *_ = np.linalg.lstsq(design, log_kwh, rcond=None)
    residual = log_kwh - design @ beta
    degrees_of_freedom = len(frame) - len(names)
    variance = float(residual @ residual) / degrees_of_freedom
    return Equation3(
        convention=convention,
        base_gpu=base_gpu,
        gpus=(base_gpu, *others),
        dtypes=frozenset(frame["dtype"]),
        names=tuple(names),
        beta=beta,
        covariance=variance * np.linalg.inv(design.T @ design),
        residual_stdev=float(np.sqrt(variance)),
        degrees_of_freedom=degrees_of_freedom,
        scores=score(frame["energy_j"], np.exp(design @ beta) * JOULES_PER_KWH),
    )


def denoise_flops(frame: pd.DataFrame, convention: Convention) -> Array:
    """FLOPs of all evaluations of each row, guidance and every image included.

    Raises:
        LawDataError: an architecture without a formula in the convention.
    """
    formulas = FORMULAS if convention == "exact" else PAPER_FORMULAS
    _refuse_unknown(frame["architecture"], tuple(formulas), f"architecture in {convention!r}")
    shape = ["architecture", "width_px", "height_px", "text_tokens", "context_rows"]

    def per_pass(row: Mapping[str, Any]) -> float:
        formula = formulas[row["architecture"]]
        rows = row["context_rows"]
        if rows is None:
            rows = formula.context_rows(row["text_tokens"])
        cost = formula.evaluation(row["width_px"], row["height_px"], rows)
        return cost if isinstance(cost, int) else cost.flops

    passes = frame["nfe"] * frame["calls"] * frame["images"]
    return per_shape(frame, shape, per_pass) * passes.to_numpy(dtype=float)


def _design(frame: pd.DataFrame, convention: Convention, names: tuple[str, ...]) -> Array:
    columns = []
    for name in names:
        if name == "log_a":
            columns.append(np.ones(len(frame)))
        elif name == "alpha":
            columns.append(np.log(denoise_flops(frame, convention) / FLOPS_PER_GFLOP))
        elif name == "beta_dtype":
            columns.append((frame["dtype"] == OTHER_DTYPE).to_numpy(dtype=float))
        elif name == "beta_res":
            pixels = (frame["width_px"] * frame["height_px"]).to_numpy(dtype=float)
            columns.append(np.log(pixels / 256))
        else:
            gpu = name.removeprefix("beta_gpu:")
            columns.append((frame["gpu"] == gpu).to_numpy(dtype=float))
    return np.column_stack(columns)


def _refuse_unknown(values: pd.Series, known: Iterable[str], what: str) -> None:
    allowed = set(known)
    unknown = sorted(set(values.astype(str)) - allowed)
    if unknown:
        raise LawDataError(
            f"no data of the {what} {', '.join(unknown)}; there are {', '.join(sorted(allowed))}"
        )
