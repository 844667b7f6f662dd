"""Columns on energy by what its meters cover: the board, CPU packages, their memory, and all."""

from __future__ import annotations

from typing import get_args

from ...records import Method, Scope
from ...tables.columns import Column
from .row import RunRow

UNMEASURED_METHODS: tuple[Method, ...] = ("estimated", "simulated")


def _of_scope(scope: Scope) -> Column[RunRow]:
    def value(row: RunRow) -> float | None:
        reading = row.scopes.get(scope)
        return reading.energy_j if reading else None

    return Column(
        f"energy_{scope}_j",
        "number",
        "J",
        "`energy_j` of the scope in the name, by the meter of the run that covers it: see "
        "[several meters](meters.md#several-meters)",
        value,
    )


def _beside_meters(row: RunRow) -> str:
    """``rapl:package (package, counter); rapl:dram (blank)``."""
    return "; ".join(
        f"{name} ({f'{reading.scope}, {reading.method}' if reading else 'blank'})"
        for name, reading in row.beside.items()
    )


def _total_scopes(row: RunRow) -> str:
    """``gpu + package``, with the method of what was not measured."""
    if row.total_j is None:
        return ""
    return " + ".join(
        f"{scope} ({reading.method})" if reading.method in UNMEASURED_METHODS else scope
        for scope, reading in row.scopes.items()
    )


SCOPES: tuple[Column[RunRow], ...] = (
    *(_of_scope(scope) for scope in get_args(Scope)),
    Column(
        "energy_beside_meters",
        "text",
        "",
        "the meters that were read beside `energy_meter`, with scope and method of each",
        _beside_meters,
    ),
    Column(
        "energy_total_j",
        "number",
        "J",
        "the sum of all measured scopes × `pue`; empty where one of them is missing, and for a "
        "single one without `pue`",
        lambda row: row.total_j,
    ),
    Column(
        "energy_total_scopes",
        "text",
        "",
        "what that sum is of, as `gpu + package + dram`",
        _total_scopes,
    ),
    Column(
        "pue",
        "number",
        "",
        "power usage effectiveness as `--pue` said: what the building draws for each watt of the "
        "machine; in `energy_total_j` and nowhere else",
        lambda row: row.run.pue,
    ),
)
