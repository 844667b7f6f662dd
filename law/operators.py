"""One law for all architectures: the joules of a run from the work of its operators.

E = e16 F16 + e32 F32 + 2 r (e16 W16 + e32 W32) + b B + o N

F are FLOPs, W weight values read, B bytes of activations, N operators, over the whole run (text
encoding, every evaluation, decoding; see ``measure/flop``). 16-bit products and convolutions run on
tensor cores (e16); fp32 products do not (e32); fp32 convolutions run in TF32, which torch allows by
default, at half the tensor rate of 16 bits (NVIDIA A100 data sheet: 156 and 312 TFLOPS), so they
cost 2 e16. r is the number of rows by which a product falls short of filling the device: a product
over n rows costs as one over n + r. The five parameters are positive and fitted in logarithms, to
the logarithm of the energy, by least squares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..stats import student_t
from .data import Array, Energy, LawDataError, per_shape
from .flop import run_work

if TYPE_CHECKING:
    import pandas as pd

TF32_COST = 2
"""Energy of a TF32 FLOP over that of a 16-bit one: the inverse ratio of their rates."""

Unit = Literal["J", "s"]
"""What a law predicts: joules, or by the same equation seconds."""

PARAMETERS = ("per_tflop_16", "per_tflop_32", "saturation_rows", "per_gb", "per_operator")
START = (2.0, 16.0, 50.0, 1.0, 0.005)
"""J/TFLOP, J/TFLOP, rows, J/GB, J: where the search begins, of the order of a data-centre GPU."""

SHAPE = (
    "architecture", "width_px", "height_px", "nfe", "calls", "guidance", "batch_size",
    "text_tokens", "context_rows", "dtype",
)  # fmt: skip


@dataclass(frozen=True)
class Domain:
    """What the fitted rows covered; outside of it a prediction is an extrapolation."""

    gpu: str
    dtypes: frozenset[str]
    architectures: frozenset[str]
    pixels: tuple[int, int]
    nfe: tuple[int, int]
    batch_size: tuple[int, int]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Domain:
        pixels = frame["width_px"] * frame["height_px"]
        return cls(
            gpu=str(frame["gpu"].iloc[0]),
            dtypes=frozenset(frame["dtype"]),
            architectures=frozenset(frame["architecture"]),
            pixels=(int(pixels.min()), int(pixels.max())),
            nfe=(int(frame["nfe"].min()), int(frame["nfe"].max())),
            batch_size=(int(frame["batch_size"].min()), int(frame["batch_size"].max())),
        )

    def check(self, gpus: Iterable[str], dtypes: Iterable[str]) -> None:
        """Refuse what nothing is known of.

        Raises:
            LawDataError: a GPU or a precision without data.
        """
        for name, asked, known in (
            ("gpu", gpus, {self.gpu}),
            ("dtype", dtypes, self.dtypes),
        ):
            unknown = sorted(set(asked) - known)
            if unknown:
                raise LawDataError(
                    f"no data of the {name} {', '.join(unknown)}; there is "
                    f"{', '.join(sorted(known))}. Measure a few runs and calibrate on them"
                )

    def novelty(self, row: Mapping[Any, Any]) -> str:
        """Why this row is an extrapolation; empty where it is none."""
        news = []
        if row["architecture"] not in self.architectures:
            news.append(f"{row['architecture']} was not measured")
        for name, value, (low, high) in (
            ("pixels", row["width_px"] * row["height_px"], self.pixels),
            ("evaluations", row["nfe"], self.nfe),
            ("batch size", row["batch_size"], self.batch_size),
        ):
            if not low <= value <= high:
                measured = f"{low} to {high}" if low < high else f"{low}"
                news.append(f"{name} {value} outside the measured {measured}")
        return "; ".join(news)


@dataclass(frozen=True)
class OperatorLaw:
    """A fitted law, able to predict.

    ``log_parameters`` are in the order of :data:`PARAMETERS`. ``covariance`` is the usual one, for
    rows like the fitted ones; ``novel_covariance`` is for extrapolations, with
    ``novel_degrees_of_freedom``. ``residual_stdev`` is that of log E. ``basis`` says what the
    fitted energies are: ``measured``, ``estimated`` or ``simulated``; ``energy`` of what they are.
    """

    domain: Domain
    log_parameters: Array
    covariance: Array
    degrees_of_freedom: float
    novel_covariance: Array
    novel_degrees_of_freedom: float
    residual_stdev: float
    n: int
    unit: Unit = "J"
    basis: str = "measured"
    energy: Energy = "gross"

    @property
    def parameters(self) -> dict[str, float]:
        """Joules (or seconds) per TFLOP, 16-bit and fp32; rows; J (s) per GB and per operator."""
        return dict(zip(PARAMETERS, np.exp(self.log_parameters).tolist(), strict=True))

    def factors(self, confidence: float = 0.9) -> dict[str, float]:
        """By what factor each parameter may be higher or lower, at that confidence."""
        half = student_t(self.degrees_of_freedom, confidence) * np.sqrt(np.diag(self.covariance))
        return dict(zip(PARAMETERS, np.exp(half).tolist(), strict=True))

    def predict(self, frame: pd.DataFrame, confidence: float = 0.9) -> pd.DataFrame:
        """Joules (or seconds) with prediction intervals; ``note`` says why one is wide.

        Raises:
            LawDataError: a GPU or a precision without data, or an extrapolation from data of a
                single architecture.
        """
        import pandas as pd

        self.domain.check(frame["gpu"], frame["dtype"])
        notes = [self.domain.novelty(row) for row in frame.to_dict("records")]
        values = self._interval(work_features(frame, self.energy), notes, confidence)
        columns = dict(zip(("value", "low", "high"), values, strict=True))
        return pd.DataFrame({**columns, "note": notes}, index=frame.index)

    def predict_one(
        self, run: Mapping[str, Any], confidence: float = 0.9
    ) -> tuple[float, float, float, str]:
        """As :meth:`predict`, for one run of :func:`.data.planned`: value, low, high, note.

        Raises:
            LawDataError: as :meth:`predict`.
        """
        self.domain.check([run["gpu"]], [run["dtype"]])
        note = self.domain.novelty(run)
        shape = {name: run[name] for name in SHAPE}
        features = np.array([_run_features(shape, self.energy)])
        features *= run["images"] / run["batch_size"]
        value, low, high = self._interval(features, [note], confidence)
        return float(value[0]), float(low[0]), float(high[0]), note

    def _interval(
        self, features: Array, notes: Sequence[str], confidence: float
    ) -> tuple[Array, Array, Array]:
        novel = np.array([bool(note) for note in notes])
        if novel.any() and self.novel_degrees_of_freedom < 1:
            raise LawDataError(
                f"{next(note for note in notes if note)}: nothing is known of how the law carries "
                "over, for it was fitted to one architecture"
            )
        log_j = np.log(evaluate(features, self.log_parameters))
        slope = log_gradient(features, self.log_parameters)
        half = np.where(
            novel,
            self._half_width(slope, confidence, novel=True) if novel.any() else 0.0,
            self._half_width(slope, confidence, novel=False),
        )
        return np.exp(log_j), np.exp(log_j - half), np.exp(log_j + half)

    def _half_width(self, slope: Array, confidence: float, novel: bool) -> Array:
        covariance = self.novel_covariance if novel else self.covariance
        freedom = self.novel_degrees_of_freedom if novel else self.degrees_of_freedom
        spread = np.einsum("ij,jk,ik->i", slope, covariance, slope)
        half: Array = student_t(freedom, confidence) * np.sqrt(spread + self.residual_stdev**2)
        return half


@dataclass(frozen=True)
class Prior:
    """What is held of the log parameters before the data: normal with ``centre`` and covariance.

    ``whitening`` is W with WᵀW the inverse covariance; ``noise`` are the standard deviations of the
    data's log residuals, (rows,).
    """

    centre: Array
    whitening: Array
    noise: Array


def fit(frame: pd.DataFrame) -> OperatorLaw:
    """Fit the law to the observations of one GPU.

    For extrapolations the covariance is clustered by architecture, with Student's t on one degree
    of freedom less than there are architectures (Cameron and Miller, "A Practitioner's Guide to
    Cluster-Robust Inference", 2015, sections II and VI): rows of one model err together, so they
    count as one observation of how the law carries over.

    Raises:
        LawDataError: more than one GPU, a precision other than fp16 and fp32 beside them, one
            precision alone, or rows too few or too alike for five parameters.
    """
    if frame["gpu"].nunique() != 1:
        raise LawDataError(
            f"the law holds for one GPU, these are {', '.join(sorted(frame['gpu'].unique()))}"
        )
    if set(frame["dtype"]) != {"fp16", "fp32"}:
        raise LawDataError(
            "the law is fitted to fp16 and fp32 together, these are "
            f"{', '.join(sorted(frame['dtype'].unique()))}; calibrate does with less"
        )
    features = work_features(frame)
    log_j = np.log(frame["energy_j"].to_numpy(dtype=float))
    theta, residual, slope = solve(features, log_j)
    freedom = len(frame) - len(PARAMETERS)
    if freedom < 1 or np.linalg.cond(slope) > 1e6:
        raise LawDataError(
            f"{len(frame)} rows are too few or too alike for {len(PARAMETERS)} parameters: add "
            "runs that differ in model, steps, resolution and precision"
        )
    variance = float(residual @ residual) / freedom
    bread = np.linalg.inv(slope.T @ slope)
    meat = np.zeros_like(bread)
    clusters = list(frame.groupby("architecture").indices.values())
    for rows in clusters:
        moment = slope[rows].T @ residual[rows]
        meat += np.outer(moment, moment)
    return OperatorLaw(
        domain=Domain.of(frame),
        log_parameters=theta,
        covariance=variance * bread,
        degrees_of_freedom=freedom,
        novel_covariance=bread @ meat @ bread,
        novel_degrees_of_freedom=len(clusters) - 1,
        residual_stdev=float(np.sqrt(variance)),
        n=len(frame),
    )


def solve(
    features: Array,
    log_j: Array,
    prior: Prior | None = None,
) -> tuple[Array, Array, Array]:
    """Least squares in logarithms.

    Returns the parameters, the residuals of the data (log measured over predicted) and their
    slopes.
    """
    from scipy.optimize import least_squares

    start = np.log(START) if prior is None else prior.centre

    def residuals(theta: Array) -> Array:
        data = np.log(evaluate(features, theta)) - log_j
        if prior is None:
            return data
        return np.concatenate([data / prior.noise, prior.whitening @ (theta - prior.centre)])

    def jacobian(theta: Array) -> Array:
        data = log_gradient(features, theta)
        if prior is None:
            return data
        return np.vstack([data / prior.noise[:, None], prior.whitening])

    # The bounds only keep a parameter that the data put at zero from running off to log 0.
    bounds = (start - 12.0, start + 12.0)
    theta = least_squares(residuals, start, jac=jacobian, bounds=bounds).x
    return theta, log_j - np.log(evaluate(features, theta)), log_gradient(features, theta)


def evaluate(features: Array, theta: Array) -> Array:
    """The law: joules of each row of ``features``."""
    parts: Array = _parts(features, theta).sum(axis=1)
    return parts


def log_gradient(features: Array, theta: Array) -> Array:
    """d log E / d log parameter, (rows, 5)."""
    parts = _parts(features, theta)
    tensor, core, short_tensor, short_core, memory, launch = parts.T
    by_parameter = (tensor + short_tensor, core + short_core, short_tensor + short_core)
    gradient: Array = np.column_stack([*by_parameter, memory, launch])
    return gradient / parts.sum(axis=1, keepdims=True)


def _parts(features: Array, theta: Array) -> Array:
    e16, e32, rows, per_gb, per_operator = np.exp(theta)
    weights = np.array([e16, e32, 2 * rows * e16, 2 * rows * e32, per_gb, per_operator])
    return features * weights


def work_features(frame: pd.DataFrame, energy: Energy = "gross") -> Array:
    """The work of each row, all its images: TFLOPs (16-bit, fp32), the same of weights, GB, count.

    It is that of denoising alone where the energy is. fp32 convolutions stand in the 16-bit
    columns, times :data:`TF32_COST`. A quantized format counts as 16-bit arithmetic on 16-bit
    activations.

    Raises:
        ValueError: an architecture or a size without a formula.
    """
    runs = (frame["images"] / frame["batch_size"]).to_numpy(dtype=float)
    return per_shape(frame, SHAPE, lambda run: _run_features(run, energy)) * runs[:, None]


def _run_features(shape: Mapping[str, Any], energy: Energy) -> list[float]:
    run = {name: value for name, value in shape.items() if name != "dtype"}
    phases = run_work(**run)
    work = phases.denoise if energy == "denoise" else phases.total
    tera, giga = 1e12, 1e9
    if shape["dtype"] == "fp32":
        return [
            TF32_COST * work.conv_flops / tera,
            work.matmul_flops / tera,
            TF32_COST * work.conv_weights / tera,
            work.matmul_weights / tera,
            4 * work.activations / giga,
            work.operators,
        ]
    memory = 2 * work.activations / giga
    return [work.flops / tera, 0, work.weights / tera, 0, memory, work.operators]
