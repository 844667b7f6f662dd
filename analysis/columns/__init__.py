"""The columns of ``runs.csv``, in order: the one place where a column is declared.

A :class:`~..tables.columns.Column` has name, type, unit, meaning and value. The lists below, the
types of the table, the metrics of ``summary.csv`` and ``docs/columns.md`` follow from them.
"""

from __future__ import annotations

from ...tables.columns import names
from .cost import ENERGY, FORECAST, METRIC, PHASE_METRIC, SPEED
from .machine import BOARD, KERNELS, MEMORY, PICTURE
from .quality import QUALITY, QUALITY_METRIC
from .row import RunRow
from .scopes import SCOPES
from .work import (
    CONDITION,
    CONDITIONS,
    ENVIRONMENT,
    ENVIRONMENTS,
    IDENTITY,
    REPEATS,
    condition_name,
)

__all__ = [
    "ALL_METRICS",
    "COLUMNS",
    "CONDITION_COLUMNS",
    "ENVIRONMENT_COLUMNS",
    "IDENTIFYING",
    "METRICS",
    "PHASE_METRICS",
    "QUALITY_METRICS",
    "RUN_COLUMNS",
    "TEXT_COLUMNS",
    "RunRow",
    "condition_name",
]

COLUMNS = (
    *IDENTITY,
    *CONDITIONS,
    *REPEATS,
    *SPEED,
    *ENERGY,
    *SCOPES,
    *FORECAST,
    *MEMORY,
    *BOARD,
    *KERNELS,
    *PICTURE,
    *QUALITY,
    *ENVIRONMENTS,
)

RUN_COLUMNS = names(COLUMNS)
TEXT_COLUMNS = [column.name for column in COLUMNS if column.type == "text"]
CONDITION_COLUMNS = names(COLUMNS, CONDITION)
ENVIRONMENT_COLUMNS = names(COLUMNS, ENVIRONMENT)

IDENTIFYING = tuple(column for column in COLUMNS if column.role in (CONDITION, ENVIRONMENT))
"""Columns in which runs that are pooled are equal."""

METRICS = {column.name: column.unit for column in COLUMNS if column.role == METRIC}
"""The columns of the main summary table, each with its unit."""

PHASE_METRICS = {column.name: column.unit for column in COLUMNS if column.role == PHASE_METRIC}
"""Where a run's energy goes; its intervals are the jackknife's, see :mod:`...energy.pooling`."""

QUALITY_METRICS = {column.name: column.unit for column in COLUMNS if column.role == QUALITY_METRIC}
"""What pictures are like; their intervals are over prompts and seeds, see :mod:`..quality`."""

ALL_METRICS = {**METRICS, **PHASE_METRICS, **QUALITY_METRICS}
"""The columns that are summarised."""
