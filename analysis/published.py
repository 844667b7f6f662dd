"""Published measurements beside one's own: other machines and programs, so context and no match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..law.data import EDGE_NODES_CSV, QUANT_BENCH_CSV
from ..tables.csv import read_frame
from .summary import ConditionRuns

Likeness = Literal["same plan", "same workload", "context only"]
"""How like a published workload is to a condition's: measured by the shipped plan of that study;
equal in model, size, steps and weights; or equal in model and size alone."""

SOURCE = "Impact of GPU Architecture and VRAM on Image Generation, tables 2 and 3"
PLAN = "edge_nodes "
"""How the study's name begins in runs of the shipped plan."""

J_PER_KWH = 3.6e6
EDGE_PX, LEAST_PX = 1024, 512


@dataclass(frozen=True)
class Workload:
    """What ``edge_nodes.csv`` measured, a picture at a time."""

    name: str
    architecture: str
    steps: int
    weights: tuple[str, ...]


WORKLOADS = (
    Workload("sdxl-illustrious", "sdxl", 30, ("fp16", "bf16")),
    Workload("z-image-turbo", "z_image", 8, ("fp8", "fp8_e4m3fn", "float8_e4m3fn")),
)


@dataclass(frozen=True)
class Published:
    """A card of the study; ``time_s`` is that of an image's denoising, by its steps per second."""

    card: str
    workload: str
    it_per_s: float
    time_s: float
    j_per_img: float


@dataclass(frozen=True)
class Beside:
    """Conditions, by their rows in the summary, with the published cards that they stand beside."""

    likeness: Likeness
    rows: tuple[int, ...]
    cards: tuple[Published, ...]


def published_beside(conditions: Sequence[ConditionRuns]) -> list[Beside]:
    """For each published workload the conditions that are most like it; nothing without any."""
    table = read_frame(EDGE_NODES_CSV).to_dict("records")
    found = []
    for workload in WORKLOADS:
        alike: dict[Likeness, list[int]] = {}
        for row, condition in enumerate(conditions):
            likeness = _likeness(condition, workload)
            if likeness is not None and len(condition.measured):
                alike.setdefault(likeness, []).append(row)
        levels: tuple[Likeness, ...] = ("same plan", "same workload", "context only")
        best = next((level for level in levels if level in alike), None)
        if best is not None:
            cards = tuple(
                _card(line, workload) for line in table if line["workload"] == workload.name
            )
            found.append(Beside(best, tuple(alike[best]), cards))
    return found


FORMATS_SOURCE = (
    "Quantization benchmark on an RTX PRO 6000 Blackwell (PyTorch 2.11, diffusers 0.38)"
)
ARCHITECTURES = {
    "SDXL": "sdxl",
    "SDXL Lightning (2-step)": "sdxl",
    "SDXL Lightning (4-step)": "sdxl",
    "SDXL Turbo": "sdxl",
    "Hyper-SDXL (4-step)": "sdxl",
    "LCM-SDXL": "sdxl",
    "SD 1.5": "sd15",
    "Flux.1 Schnell": "flux",
    "Flux.1 Dev": "flux",
}
"""The pack's name of each model's architecture in that benchmark."""


@dataclass(frozen=True)
class PublishedFormat:
    """A line of the benchmark; the size of its pictures is not told, so it is context only."""

    model: str
    weight_format: str
    steps: int
    s_per_img: float
    peak_vram_bytes: float


def published_formats(conditions: Sequence[ConditionRuns]) -> list[PublishedFormat]:
    """The benchmark's lines of an architecture and a number of steps that a condition has."""
    measured = [_known(condition) for condition in conditions if len(condition.measured)]
    own = {(one["architecture"], one["steps"]) for one in measured if not _is_reduced(one)}
    return [
        PublishedFormat(
            str(line["model"]),
            str(line["quant"]),
            int(line["steps"]),
            float(line["avg_time_s"]),
            1e9 * float(line["peak_vram_gb"]),
        )
        for line in read_frame(QUANT_BENCH_CSV).to_dict("records")
        if (ARCHITECTURES[line["model"]], line["steps"]) in own
    ]


def _card(line: dict[Any, Any], workload: Workload) -> Published:
    speed = float(line["it_per_s"])
    energy_j = J_PER_KWH / float(line["img_per_kwh"])
    return Published(str(line["gpu"]), workload.name, speed, workload.steps / speed, energy_j)


def _known(condition: ConditionRuns) -> dict[str, Any]:
    """What the runs of a condition have in common; ``None`` for what is blank."""
    import pandas as pd

    facts: dict[str, Any] = condition.identity
    return {name: None if pd.isna(value) else value for name, value in facts.items()}


def _is_reduced(identity: Mapping[str, Any]) -> bool:
    """Whether the model is a tiny one with random weights, or the picture small: another world."""
    is_tiny = identity["weights"] == "synthetic" and str(identity["model"]).endswith(" tiny")
    sides = [identity["width_px"], identity["height_px"]]
    return is_tiny or not all(isinstance(side, int) and side >= LEAST_PX for side in sides)


def _likeness(condition: ConditionRuns, workload: Workload) -> Likeness | None:
    identity = _known(condition)
    size = (identity["width_px"], identity["height_px"])
    is_its_size = size == (EDGE_PX, EDGE_PX) and not _is_reduced(identity)
    if identity["architecture"] != workload.architecture or not is_its_size:
        return None
    is_same = (
        identity["steps"] == workload.steps
        and identity["batch_size"] == 1
        and identity["weight_format"] in workload.weights
    )
    if not is_same:
        return "context only"
    studies = condition.measured["study"]
    is_by_plan = len(studies) and studies.str.startswith(PLAN).all()
    return "same plan" if is_by_plan else "same workload"
