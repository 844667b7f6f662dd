"""Bundles side by side: a row for each condition of each bundle, grouped by what they computed.

Nothing is pooled over bundles: each row is one card, one meter, one set of runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..analysis.analysis import Analysis
from ..analysis.summary import ConditionRuns
from ..records import Estimate
from ..stats import estimate, independent_values
from .bundle import Bundle
from .verify import Verdict, verify


class Workload(NamedTuple):
    """What was computed, whatever computed it; equal ones may be compared."""

    architecture: str
    width_px: int | None
    height_px: int | None
    batch_size: int | None
    frames: int | None
    steps: int | None
    cfg: float | None
    sampler: str


@dataclass(frozen=True)
class Row:
    """One condition of one bundle. Estimates are over visits where there are several, else over
    repeats; ``None`` where nothing was measured."""

    card: str
    model: str
    setting: str
    host: str
    seconds: Estimate | None
    joules: Estimate | None
    peak_vram_bytes: float | None
    meter: str
    executed: str
    run_count: int
    visit_count: int
    fingerprint: str
    signer: str
    recomputed: str


class Signed(NamedTuple):
    """A bundle and who has signed it, blank where nobody has."""

    bundle: Bundle
    signer: str = ""


def board(bundles: Iterable[Signed]) -> dict[Workload, list[Row]]:
    """The rows of each workload, those of fewer joules an image first."""
    found: dict[Workload, list[Row]] = defaultdict(list)
    for signed in bundles:
        verdict = verify(signed.bundle.runs)
        for condition in Analysis.of(signed.bundle.runs).conditions:
            if len(condition.measured):
                found[_workload(condition)].append(_row(condition, signed, verdict))
    for rows in found.values():
        rows.sort(key=_order)
    return dict(sorted(found.items(), key=lambda item: tuple(map(str, item[0]))))


def _order(row: Row) -> tuple[bool, float, bool, float]:
    joules, seconds = row.joules, row.seconds
    return (
        joules is None,
        joules.value if joules else 0.0,
        seconds is None,
        seconds.value if seconds else 0.0,
    )


def _workload(condition: ConditionRuns) -> Workload:
    said = condition.identity
    return Workload(*(_known(said[name]) for name in Workload._fields))


def _row(condition: ConditionRuns, signed: Signed, verdict: Verdict) -> Row:
    said, measured = condition.identity, condition.measured
    vram = measured["peak_vram_bytes"].dropna()
    settings = (said["weight_format"], said["attention"], said["optimizations"])
    return Row(
        card=str(said["gpu_name"] or said["cpu_name"]),
        model=str(said["model"] or said["architecture"]),
        setting=", ".join(str(part) for part in settings if part),
        host=" ".join(str(said[name]) for name in ("host", "host_version") if said[name]),
        seconds=_estimate(measured, "s_per_img", "s/img"),
        joules=_estimate(measured, "j_per_img", "J/img"),
        peak_vram_bytes=float(vram.max()) if len(vram) else None,
        meter="; ".join(_texts(measured, ("energy_meter", "energy_method"))),
        executed="; ".join(_texts(measured, ("attention_executed", "linear_executed"))),
        run_count=len(measured),
        visit_count=int(measured["process_id"].nunique()),
        fingerprint=signed.bundle.fingerprint,
        signer=signed.signer,
        recomputed=f"{verdict.recomputed} of {verdict.energy_count}",
    )


def _estimate(measured: Any, column: str, unit: str) -> Estimate | None:
    values = independent_values(measured, column)
    return estimate(values, unit) if values else None


def _texts(measured: Any, columns: Sequence[str]) -> Iterator[str]:
    for column in columns:
        kinds = dict.fromkeys(str(value) for value in measured[column] if value)
        if kinds:
            yield next(iter(kinds)) if len(kinds) == 1 else f"{len(kinds)} kinds"


def _known(value: Any) -> Any:
    """A cell of a table; a blank number is ``None``."""
    import pandas as pd

    return None if pd.isna(value) else value
