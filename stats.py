"""Values to estimates: Student-t intervals, paired ratios, tests of independence.

No statistic replaces its runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from .records import Estimate

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """``ratio`` is treatment over baseline, from pairs."""

    baseline: str
    treatment: str
    ratio: Estimate


def estimate(values: Sequence[float], unit: str, confidence: float = 0.95) -> Estimate:
    """Mean of independent ``values`` with its two-sided Student-t interval.

    One value has a mean but neither a standard deviation nor an interval: both are NaN then.

    Raises:
        ValueError: no values, or a ``confidence`` outside (0, 1).
    """
    if len(values) == 0:
        raise ValueError("no values to estimate from; drop the row or measure at least one run")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    data = np.asarray(values, dtype=float)
    mean = float(data.mean())
    if len(data) == 1:
        return Estimate(mean, math.nan, math.nan, confidence, 1, unit, math.nan)
    stdev = float(data.std(ddof=1))
    half = student_t(len(data) - 1, confidence) * stdev / math.sqrt(len(data))
    return Estimate(mean, mean - half, mean + half, confidence, len(data), unit, stdev)


def by_visit(values: Sequence[float], visits: Sequence[object]) -> list[float]:
    """What an interval is taken over: ``values``, or the means of visits where there are several.

    A visit is a server process, whose state its repeats share. A value that is NaN was not
    measured.
    """
    pairs = zip(values, visits, strict=True)
    known = [(value, visit) for value, visit in pairs if not math.isnan(value)]
    if len(set(visits)) < 2:
        return [value for value, _ in known]
    groups: dict[object, list[float]] = {}
    for value, visit in known:
        groups.setdefault(visit, []).append(value)
    return [fmean(values) for values in groups.values()]


def independent_values(measured: pd.DataFrame, metric: str) -> list[float]:
    """What an interval is taken over: the runs, or the means of visits where there are several."""
    return by_visit(measured[metric].astype("float64").tolist(), measured["process_id"].tolist())


@cache
def student_t(degrees_of_freedom: float, confidence: float) -> float:
    """Two-sided critical value, for example 2.262 for 9 degrees of freedom and 0.95."""
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(degrees_of_freedom, (1 + confidence) / 2))


def two_sided_p(t: float, degrees_of_freedom: float) -> float:
    """The chance of a Student-t as far from 0 as ``t``, or farther."""
    from scipy.special import stdtr

    return float(2 * stdtr(degrees_of_freedom, -abs(t)))


def paired_ratio(
    baseline: Sequence[float],
    treatment: Sequence[float],
    labels: tuple[str, str] = ("baseline", "treatment"),
    confidence: float = 0.95,
) -> Comparison:
    """Geometric mean of ``treatment / baseline`` over pairs, by a t interval on the log ratios.

    Raises:
        ValueError: unequal lengths, fewer than two pairs, or a value that is not positive.
    """
    if len(baseline) != len(treatment) or len(baseline) < 2:
        raise ValueError(
            f"pairs needed, at least two: got {len(baseline)} baseline and {len(treatment)} "
            "treatment values; run both arms equally often"
        )
    first, second = np.asarray(baseline, dtype=float), np.asarray(treatment, dtype=float)
    if not ((first > 0).all() and (second > 0).all()):
        raise ValueError("a ratio needs positive values in both arms; drop failed pairs first")
    log = estimate(list(np.log(second / first)), "log ratio", confidence)
    ratio = Estimate(
        value=math.exp(log.value),
        ci_low=math.exp(log.ci_low),
        ci_high=math.exp(log.ci_high),
        confidence=confidence,
        n=log.n,
        unit="1",
        stdev=log.stdev,
    )
    return Comparison(labels[0], labels[1], ratio)


def unpaired_ratio(
    baseline: Sequence[float], treatment: Sequence[float], confidence: float = 0.95
) -> Estimate:
    """Geometric mean of ``treatment`` over that of ``baseline``, of independent values.

    The interval is Welch's on the logarithms; its bounds are NaN where a side has a single value.

    Raises:
        ValueError: a side without values, or a value that is not positive.
    """
    first, second = np.asarray(baseline, dtype=float), np.asarray(treatment, dtype=float)
    if not len(first) or not len(second) or not ((first > 0).all() and (second > 0).all()):
        raise ValueError("a ratio needs positive values on both sides; drop failed runs first")
    sides = [np.log(first), np.log(second)]
    log = float(sides[1].mean() - sides[0].mean())
    count, nan = min(map(len, sides)), math.nan
    if count < 2:
        return Estimate(math.exp(log), nan, nan, confidence, count, "1", nan)
    parts = [float(side.var(ddof=1)) / len(side) for side in sides]
    error = math.sqrt(sum(parts))
    if error == 0:
        return Estimate(math.exp(log), math.exp(log), math.exp(log), confidence, count, "1", 0.0)
    spread = sum(part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True))
    half = student_t(error**4 / spread, confidence) * error
    low, high = math.exp(log - half), math.exp(log + half)
    return Estimate(math.exp(log), low, high, confidence, count, "1", error)


def ratio_of_means(baseline: Estimate, treatment: Estimate) -> Estimate:
    """``treatment`` over ``baseline``, where only means and standard deviations are known.

    The interval is Welch's on the logarithms, with the relative standard deviations as those of the
    logarithms; its bounds are NaN where a side has a single value.

    Raises:
        ValueError: a mean that is not positive.
    """
    sides = (baseline, treatment)
    if not all(side.value > 0 for side in sides):
        raise ValueError("a ratio needs positive means on both sides")
    ratio, confidence = treatment.value / baseline.value, baseline.confidence
    count, nan = min(side.n for side in sides), math.nan
    if count < 2 or any(math.isnan(side.stdev) for side in sides):
        return Estimate(ratio, nan, nan, confidence, count, "1", nan)
    parts = [(side.stdev / side.value) ** 2 / side.n for side in sides]
    error = math.sqrt(sum(parts))
    if error == 0:
        return Estimate(ratio, ratio, ratio, confidence, count, "1", 0.0)
    spread = sum(part**2 / (side.n - 1) for part, side in zip(parts, sides, strict=True))
    half = student_t(error**4 / spread, confidence) * error
    low, high = ratio * math.exp(-half), ratio * math.exp(half)
    return Estimate(ratio, low, high, confidence, count, "1", error)


@dataclass(frozen=True)
class Drift:
    """A straight line through values in the order they were measured.

    ``relative_slope`` is the change from one value to the next as a part of their mean; ``p_value``
    is that of the two-sided test that there is no slope.
    """

    relative_slope: float
    p_value: float


def drift(values: Sequence[float]) -> Drift:
    """Whether ``values`` move with their index, by ordinary least squares.

    Raises:
        ValueError: fewer than three values.
    """
    if len(values) < 3:
        raise ValueError(f"a drift needs three values or more, got {len(values)}")
    freedom = len(values) - 2
    at = np.arange(len(values)) - (len(values) - 1) / 2
    off = np.asarray(values, dtype=float) - np.mean(values)
    slope = float(at @ off / (at @ at))
    left = off - slope * at
    error = math.sqrt(float(left @ left) / freedom / float(at @ at))
    t = slope / error if error else math.copysign(math.inf, slope) if slope else 0.0
    return Drift(float(slope / np.mean(values)), two_sided_p(t, freedom))


def lag1_autocorrelation(values: Sequence[float]) -> float:
    """Correlation of each value with the next, between -1 and 1; 0 where all are equal.

    For independent values it lies within ``±1.96 / sqrt(n)`` 95 % of the time (Box and Jenkins,
    Time Series Analysis, chapter 2).

    Raises:
        ValueError: fewer than three values.
    """
    if len(values) < 3:
        raise ValueError(f"an autocorrelation needs three values or more, got {len(values)}")
    deviations = np.asarray(values, dtype=float) - np.mean(values)
    power = float(deviations @ deviations)
    return float(deviations[:-1] @ deviations[1:]) / power if power else 0.0
