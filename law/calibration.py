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
from .data import EDGE_NODES_CSV, Array, LawDataError, Observations, read_table
from .flop import DEFAULT_TEXT_TOKENS
from .operators import (
    PARAMETERS,
    SHAPE,
    Domain,
    OperatorLaw,
    Prior,
    Unit,
    log_gradient,
    solve,
    work_features,
)

MAX_CALIBRATION_BYTES = 2**20

if TYPE_CHECKING:
    import pandas as pd

COMMON_STDEV = 1.5
"""Of the log of the factor between two cards: the published cards lie between 1 and 27 times the
A100's energy (``edge_nodes.csv``)."""
OWN_STDEV = 0.6
"""Of one parameter beside that factor: the smallest tenth at which the 90 % interval from one
workload of a published card covers the other workload, on all five cards that have both."""
ENERGIES = tuple(float(name != "saturation_rows") for name in PARAMETERS)
"""1 for the parameters that the common factor scales."""

FEW_CONDITIONS = 3
NARROW_RANGE = 4.0
"""Largest over smallest energy of the runs below which they are called too alike."""

EDGE_RUNS = {
    "sdxl-illustrious": {"architecture": "sdxl", "nfe": 30, "calls": 2},
    "z-image-turbo": {"architecture": "z_image", "nfe": 8, "calls": 1},
}
"""What the workloads of ``edge_nodes.csv`` run, both at 1024 x 1024 px."""


@dataclass(frozen=True)
class Calibration:
    """A law for one card; ``warnings`` say what the runs behind it cannot tell."""

    law: OperatorLaw
    warnings: tuple[str, ...]


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
    features = work_features(conditions)
    centre = published.log_parameters
    if unit == "s":
        # Joules to seconds at the mean power of the runs themselves.
        mean_power_w = frame["energy_j"].sum() / frame["duration_s"].sum()
        centre = centre - np.asarray(ENERGIES) * np.log(mean_power_w)
    spread = published.covariance + COMMON_STDEV**2 * np.outer(ENERGIES, ENERGIES)
    spread = spread + OWN_STDEV**2 * np.eye(len(PARAMETERS))
    whitening = np.linalg.cholesky(np.linalg.inv(spread)).T
    noise = published.residual_stdev
    log_value = np.log(conditions[quantity].to_numpy(dtype=float))
    theta, _, _ = solve(features, log_value, Prior(centre, whitening, noise))
    slope = log_gradient(features, theta)
    posterior = np.linalg.inv(slope.T @ slope / noise**2 + np.linalg.inv(spread))
    law = replace(
        published,
        domain=Domain.of(conditions),
        log_parameters=theta,
        covariance=posterior,
        novel_covariance=posterior + published.novel_covariance,
        n=len(conditions),
        unit=unit,
        basis=found.basis,
    )
    return Calibration(law, (*found.notes, *_warnings(conditions, quantity)))


def published_card(gpu: str, published: OperatorLaw) -> Calibration:
    """A law for a card of ``edge_nodes.csv``, from its one or two workloads: a prior, no more.

    Raises:
        LawDataError: a card that the table does not have.
    """
    table = read_table(EDGE_NODES_CSV)
    cards = list(dict.fromkeys(table["gpu"]))
    if gpu not in cards:
        raise LawDataError(
            f"no published data of {gpu}; there are {published.domain.gpu} and, as priors, "
            f"{', '.join(cards)}. Measure a few runs and calibrate on them"
        )
    calibration = calibrate(Observations(edge_frame(table[table["gpu"] == gpu])), published)
    note = (
        "from published images per kWh of SDXL and Z-Image Turbo only, idle power included; "
        "Z-Image there has FP8 weights"
    )
    return replace(calibration, warnings=(note, *calibration.warnings))


def edge_frame(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``edge_nodes.csv`` as observations of one image each."""
    import pandas as pd

    rows = [
        {
            "gpu": row["gpu"],
            "dtype": "fp16",
            "width_px": 1024,
            "height_px": 1024,
            "guidance": "batched",
            "batch_size": 1,
            "text_tokens": DEFAULT_TEXT_TOKENS,
            "images": 1,
            "energy_j": JOULES_PER_KWH / row["img_per_kwh"],
            "duration_s": float("nan"),
            **EDGE_RUNS[row["workload"]],
        }
        for row in table.to_dict("records")
    ]
    frame = pd.DataFrame(rows)
    frame["context_rows"] = pd.array([None] * len(frame), dtype="Int64")
    return frame


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


def _warnings(conditions: pd.DataFrame, quantity: str) -> list[str]:
    values: Array = conditions[quantity].to_numpy(dtype=float)
    found = []
    if len(conditions) < FEW_CONDITIONS:
        found.append(
            f"too few: {len(conditions)} distinct condition(s) tell the card's overall factor, not "
            "its parameters; vary resolution, steps and model"
        )
    elif values.max() < NARROW_RANGE * values.min():
        found.append(
            f"too alike: the largest run costs {values.max() / values.min():.1f} times the "
            f"smallest, less than {NARROW_RANGE:g}; add larger or smaller pictures"
        )
    return found
