"""Columns on what a run's pictures are like, one for each metric of :mod:`...quality`."""

from __future__ import annotations

from ...quality import METRICS
from ...quality.base import Metric
from ...records import Quality
from ...tables.columns import Column
from .row import RunRow

QUALITY_METRIC = "quality metric"
"""Role: what is summarised over pictures, of which repeats of a prompt and seed are one."""

PREFIX = "quality_"


def _quality(metric: Metric) -> Column[RunRow]:
    def value(row: RunRow) -> float | None:
        for quality in row.run.quality:
            if quality.name == metric.name:
                return quality.value
        return None

    meaning = f"{metric.meaning}. Mean of the run's pictures; {metric.range}"
    return Column(f"{PREFIX}{metric.name}", "number", metric.unit, meaning, value, QUALITY_METRIC)


def _told(qualities: tuple[Quality, ...], of: str) -> str:
    return "; ".join(f"{q.name}: {getattr(q, of)}" for q in qualities if getattr(q, of))


QUALITY: tuple[Column[RunRow], ...] = (
    *map(_quality, METRICS),
    Column(
        "quality_models",
        "text",
        "",
        "the files of the networks behind these, with their SHA-256",
        lambda row: _told(row.run.quality, "model"),
    ),
    Column(
        "quality_note",
        "text",
        "",
        "why one of these that was asked for is blank",
        lambda row: _told(row.run.quality, "note"),
    ),
)
