"""The operator law for a card of one's own, from few runs: the published fit is the prior.

Cards differ most by a common factor on all energies, less in each parameter; so the prior of the
log parameters is the A100 fit with two independent parts added, a common one and one of each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..incoming import IncomingError, read_text
from .cost import JOULES_PER_KWH
from .data import EDGE_NODES_CSV, Array, LawDataError, Observations, read_table, study
from .operators import (
    PARAMETERS,
    SHAPE,
    Domain,
    OperatorLaw,
    Prior,
    Unit,
    fit,
    solve,
    work_features,
)

MAX_CALIBRATION_BYTES = 2**20

if TYPE_CHECKING:
    import pandas as pd

COMMON_STDEV = 1.5
"""Of the log of the factor between two cards: the published cards lie between 1 and 27 times the
A100's energy (``edge_nodes.csv``)."""
OWN_STDEV = 0.5
"""Of one parameter beside that factor: the smallest tenth at which the 90 % interval from one
workload of a published card covers the other, on the cards with arithmetic for both formats."""
EMULATED_STDEV = 0.7
"""Of the log of the factor between a format that a card converts before it computes and one that
it computes: the smallest tenth at which the same holds for all pairs of workloads of all cards."""
CARDS_WITH_FP8 = frozenset({"RTX 5090", "RTX 5070"})
"""Of the published ones: FP8 arithmetic came to NVIDIA's with compute capability 8.9."""
ENERGIES = tuple(float(name != "saturation_rows") for name in PARAMETERS)
"""1 for the parameters that the common factor scales."""

FEW_CONDITIONS = 3
NARROW_RANGE = 4.0
"""Largest over smallest energy of the runs below which they are called too alike."""

FP8 = "float8_e4m3fn"
EDGE_RUNS = {
    "sdxl-illustrious": {"architecture": "sdxl", "nfe": 30, "calls": 2, "dtype": "fp16"},
    "z-image-turbo": {"architecture": "z_image", "nfe": 8, "calls": 1, "dtype": FP8},
}
"""What the workloads of ``edge_nodes.csv`` run, both at 1024 x 1024 px."""
STUDY_PROMPT_TOKENS = 58
"""CLIP tokens of the prompt that the study prints (Figure 2), without start and end."""

NOISE_FACTORS = tuple(1.1**power for power in range(37))
"""Noises that are weighed, over the published rows': from that one to 31 times as much."""
EXCESS_CHANCE = 0.01
"""Chance of residuals as large under the published noise, below which they are called excessive."""


@dataclass(frozen=True)
class Calibration:
    """A law for one card; ``warnings`` say what the runs behind it cannot tell.

    ``emulated`` is the law of the formats that the card has no arithmetic for, where there is one.
    """

    law: OperatorLaw
    warnings: tuple[str, ...]
    emulated: OperatorLaw | None = None


@dataclass(frozen=True)
class _Noise:
    """Standard deviation of the log residuals, with the degrees of freedom behind it.

    ``excess`` says that it is more than the published rows', beyond chance.
    """

    stdev: float
    degrees_of_freedom: float
    excess: bool


def published_law() -> OperatorLaw:
    """The law of the published study, as ``calibrate`` and ``predict`` use it.

    Its interval for a model that was not fitted is the one that leave-one-model-out tested: the
    laws of that test knew one model fewer, so Student's t has one degree of freedom less.
    """
    found = study()
    law = fit(found.frame)
    freedom = law.novel_degrees_of_freedom - 1
    return replace(law, novel_degrees_of_freedom=freedom, energy=found.energy)


def calibrate(found: Observations, published: OperatorLaw, unit: Unit = "J") -> Calibration:
    """Fit the law to runs on one card.

    Repeats of one condition count once, by their geometric mean: what limits a prediction is the
    law, not the scatter of repeats.

    Raises:
        LawDataError: more than one card, more than one 16-bit or quantized format, or, for
            ``unit="s"``, no durations.
    """
    frame = found.frame
    _one_card(frame)
    quantity = "energy_j" if unit == "J" else "duration_s"
    conditions = _conditions(frame, quantity)
    centre = published.log_parameters
    if unit == "s":
        # Joules to seconds at the mean power of the runs themselves.
        mean_power_w = frame["energy_j"].sum() / frame["duration_s"].sum()
        centre = centre - np.asarray(ENERGIES) * np.log(mean_power_w)
    start = replace(published, log_parameters=centre, unit=unit, energy=found.energy)
    law, noise = _posterior(conditions, quantity, start, np.zeros(len(conditions)))
    law = replace(law, basis=found.basis)
    return Calibration(law, (*found.notes, *_warnings(conditions, quantity, published, noise)))


def _posterior(
    conditions: pd.DataFrame, quantity: str, start: OperatorLaw, doubt: Array
) -> tuple[OperatorLaw, _Noise]:
    """``start`` moved by the conditions; ``doubt`` is added to each one's noise, of the log.

    The noise is the one under which the runs are likeliest, whatever the parameters (MacKay,
    "Bayesian Interpolation", 1992, section 4), never below the start's, and the start's where the
    conditions are too few to have a scatter of their own.
    """
    features = work_features(conditions, start.energy)
    log_value = np.log(conditions[quantity].to_numpy(dtype=float))
    centre = start.log_parameters
    spread = start.covariance + COMMON_STDEV**2 * np.outer(ENERGIES, ENERGIES)
    precision = np.linalg.inv(spread + OWN_STDEV**2 * np.eye(len(PARAMETERS)))
    whitening = np.linalg.cholesky(precision).T
    best = -np.inf
    few = len(conditions) < FEW_CONDITIONS
    for factor in NOISE_FACTORS[:1] if few else NOISE_FACTORS:
        row_noise = np.hypot(factor * start.residual_stdev, doubt)
        prior = Prior(centre, whitening, row_noise)
        fitted, residual, slope = solve(features, log_value, prior)
        weighed = slope / row_noise[:, None]
        posterior = np.linalg.inv(weighed.T @ weighed + precision)
        misfit = np.sum((residual / row_noise) ** 2) + np.sum((whitening @ (fitted - centre)) ** 2)
        evidence = float(np.linalg.slogdet(posterior)[1] - misfit) / 2 - np.log(row_noise).sum()
        if evidence > best:
            best, theta, covariance = evidence, fitted, posterior
            # What the parameters took of the data; the rest is free to scatter.
            freedom = len(conditions) - float(np.trace(weighed @ posterior @ weighed.T))
            noise = _noise(factor, freedom, start)
    law = replace(
        start,
        domain=Domain.of(conditions),
        log_parameters=theta,
        covariance=covariance,
        degrees_of_freedom=noise.degrees_of_freedom,
        novel_covariance=covariance + start.novel_covariance,
        novel_degrees_of_freedom=min(start.novel_degrees_of_freedom, noise.degrees_of_freedom),
        residual_stdev=noise.stdev,
        n=len(conditions),
    )
    return law, noise


def _noise(factor: float, freedom: float, start: OperatorLaw) -> _Noise:
    """The start's own noise with its own degrees of freedom, unless the residuals exceed it."""
    from scipy.stats import chi2

    if factor == 1.0:
        return _Noise(start.residual_stdev, start.degrees_of_freedom, excess=False)
    chance = chi2.sf(freedom * factor**2, freedom)
    stdev = factor * start.residual_stdev
    return _Noise(stdev, max(1.0, freedom), excess=bool(chance < EXCESS_CHANCE))


def published_card(gpu: str, published: OperatorLaw) -> Calibration:
    """A law for a card of ``edge_nodes.csv``, from its one or two workloads: a prior, no more.

    Raises:
        LawDataError: a card that the table does not have.
    """
    rows = edge_rows()
    cards = list(dict.fromkeys(rows["gpu"]))
    if gpu not in cards:
        raise LawDataError(
            f"no published data of {gpu}; there are {published.domain.gpu} and, as priors, "
            f"{', '.join(cards)}. Measure a few runs and calibrate on them"
        )
    rows = rows[rows["gpu"] == gpu]
    emulates = _emulates(gpu)
    notes = ["from published images per kWh of SDXL and Z-Image Turbo only, idle power included"]
    notes.append(
        "Z-Image there has FP8 weights, for which this card has no arithmetic: they have a law of "
        f"their own (--dtype {FP8})"
        if emulates
        else "Z-Image there has FP8 weights"
    )
    software = sorted(set(rows["software"]) - {""})
    if software:
        notes.append(
            f"SDXL was measured under {' and '.join(software)}, which count as one: their "
            "geometric mean"
        )
    notes += _warnings(_conditions(rows, "energy_j"), "energy_j")
    return Calibration(
        edge_law(rows, frozenset({"fp16"}) if emulates else frozenset({"fp16", FP8}), published),
        tuple(notes),
        edge_law(rows, frozenset({FP8}), published) if emulates else None,
    )


def edge_law(rows: pd.DataFrame, dtypes: frozenset[str], published: OperatorLaw) -> OperatorLaw:
    """The law of a card in ``dtypes`` from rows of :func:`edge_rows`.

    Rows of other formats count too, with :data:`EMULATED_STDEV` more noise.
    """
    conditions = _conditions(rows, "energy_j")
    own = conditions["dtype"].isin(list(dtypes)).to_numpy()
    start = replace(published, energy="gross")
    law, _ = _posterior(conditions, "energy_j", start, np.where(own, 0.0, EMULATED_STDEV))
    domain = Domain.of(conditions[own] if own.any() else conditions)
    return replace(law, domain=replace(domain, dtypes=dtypes))


def edge_rows() -> pd.DataFrame:
    """Rows of ``edge_nodes.csv`` as observations of one image each, joined by card.

    ``software`` is what the table has in brackets behind the card's name. A power cap is in the
    card's name: it changes the law.
    """
    import pandas as pd

    rows = []
    for row in read_table(EDGE_NODES_CSV).to_dict("records"):
        gpu, software = card_and_software(row["gpu"])
        rows.append(
            {
                "gpu": gpu,
                "software": software,
                "width_px": 1024,
                "height_px": 1024,
                "guidance": "batched",
                "batch_size": 1,
                "text_tokens": STUDY_PROMPT_TOKENS,
                "images": 1,
                "energy_j": JOULES_PER_KWH / row["img_per_kwh"],
                "duration_s": float("nan"),
                **EDGE_RUNS[row["workload"]],
            }
        )
    frame = pd.DataFrame(rows)
    frame["context_rows"] = pd.array([None] * len(frame), dtype="Int64")
    return frame


def card_and_software(name: str) -> tuple[str, str]:
    """``Radeon Pro VII (Neo)`` is the card ``Radeon Pro VII`` under ``Neo``."""
    card, _, software = name.partition(" (")
    return card, software.removesuffix(")")


def _emulates(gpu: str) -> bool:
    """Whether the card computes FP8 in another format, after converting it."""
    return gpu not in CARDS_WITH_FP8


def save(laws: Mapping[Unit, OperatorLaw], path: Path) -> None:
    """Write a card's laws, of joules and perhaps of seconds, as JSON.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_text(json.dumps(as_json(laws), indent=2) + "\n", encoding="utf-8")


def as_json(laws: Mapping[Unit, OperatorLaw]) -> dict[str, Any]:
    """A card's laws as what JSON knows; :func:`from_json` reads it."""
    fields = {unit: asdict(law) for unit, law in laws.items()}
    written: dict[str, Any] = json.loads(json.dumps(fields, default=_plain))
    return written


def from_json(written: Mapping[str, Any]) -> dict[Unit, OperatorLaw]:
    """What :func:`as_json` gave.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is something else.
    """
    laws: dict[Unit, OperatorLaw] = {"J": _law(written["J"])}
    if "s" in written:
        laws["s"] = _law(written["s"])
    return laws


def load(path: Path) -> dict[Unit, OperatorLaw]:
    """Read what :func:`save` wrote; joules are always there.

    Raises:
        LawDataError: no such file, or no law in it.
    """
    try:
        text = read_text(path, MAX_CALIBRATION_BYTES)
    except IncomingError as error:
        raise LawDataError(
            f"{path} is no law that `wattbench law calibrate --out` wrote: {error}"
        ) from error
    try:
        return from_json(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LawDataError(
            f"{path} is no law that `wattbench law calibrate --out` wrote ({type(error).__name__})"
        ) from error


def _law(fields: dict[str, Any]) -> OperatorLaw:
    domain = fields.pop("domain")
    for name in ("dtypes", "architectures"):
        domain[name] = frozenset(domain[name])
    for name in ("pixels", "nfe", "batch_size"):
        domain[name] = tuple(domain[name])
    for name in ("log_parameters", "covariance", "novel_covariance"):
        fields[name] = np.asarray(fields[name], dtype=float)
    return OperatorLaw(domain=Domain(**domain), **fields)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def _one_card(frame: pd.DataFrame) -> None:
    if frame["gpu"].nunique() != 1:
        raise LawDataError(
            f"runs on several cards: {', '.join(sorted(frame['gpu'].unique()))}; choose one with "
            "--where gpu_name=…"
        )
    narrow = sorted(set(frame["dtype"]) - {"fp32"})
    if len(narrow) > 1:
        raise LawDataError(
            f"runs of several weight formats: {', '.join(narrow)}; choose one with "
            "--where weight_format=…"
        )


def _conditions(frame: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """One row per distinct condition, its energy or duration the geometric mean of the repeats."""
    if not (frame[quantity] > 0).all():
        raise LawDataError(f"runs without {quantity}; the law of seconds needs every phase's time")
    keys = [*SHAPE, "gpu", "images"]
    logs = frame.assign(**{quantity: np.log(frame[quantity].astype(float))})
    means = logs.groupby(keys, dropna=False, sort=False, as_index=False)[quantity].mean()
    means[quantity] = np.exp(means[quantity])
    return means


def _warnings(
    conditions: pd.DataFrame,
    quantity: str,
    published: OperatorLaw | None = None,
    noise: _Noise | None = None,
) -> list[str]:
    values: Array = conditions[quantity].to_numpy(dtype=float)
    found = []
    if len(conditions) < FEW_CONDITIONS:
        found.append(
            f"too few: {len(conditions)} distinct condition(s) tell the card's overall factor, "
            "neither its parameters nor how far runs scatter; vary resolution, steps and model"
        )
    elif values.max() < NARROW_RANGE * values.min():
        found.append(
            f"too alike: the largest run costs {values.max() / values.min():.1f} times the "
            f"smallest, less than {NARROW_RANGE:g}; add larger or smaller pictures"
        )
    if published is not None and noise is not None and noise.excess:
        found.append(
            f"the form does not fit: the runs lie {noise.stdev:.0%} off the law (standard "
            f"deviation), the published ones {published.residual_stdev:.0%}; the intervals are as "
            "wide as that. Look for runs under other clocks, power limits, attention or software"
        )
    return found
