"""A report as a CSV of layers, and as a table of formats for people."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path

from ..tables.csv import csv_text
from ..tables.files import write_text
from ..tables.table import BLANK
from .fidelity import Fidelity
from .report import NOT_FINITE, LayerReport, QuantReport

COLUMNS = (
    "layer",
    "kind",
    "format",
    "shape",
    "weight_count",
    "stored_bytes",
    "bits_per_weight",
    "sqnr_db",
    "cosine",
    "max_error",
    "distortion",
    "executed",
    "call_count",
    "note",
)
"""Of the CSV; ``docs/quantization.md`` says what each is."""


HEADINGS = (
    "Format",
    "Layers",
    "Weights",
    "MB",
    "Bits/weight",
    "SQNR (dB)",
    "Cosine",
    "Max error",
    "Executed",
)
LAYER_HEADINGS = ("Layer", "Format", "Shape", *HEADINGS[3:])
WORST = 3
"""So many layers are named that lost most, or are broken."""


def write_csv(report: QuantReport, path: Path) -> None:
    """A row per layer; a cell is empty where there is no value, and ``note`` says why."""
    write_text(csv_text([COLUMNS, *map(_layer, report.layers)]), path)


def _layer(layer: LayerReport) -> tuple[object, ...]:
    found = layer.fidelity
    return (
        layer.name,
        layer.kind,
        layer.format,
        "x".join(map(str, layer.shape)),
        layer.weight_count,
        layer.stored_bytes,
        layer.bits_per_weight,
        None if found is None else found.sqnr_db,
        None if found is None else found.cosine,
        None if found is None else found.max_error,
        None if found is None else found.distortion,
        layer.executed,
        layer.call_count,
        layer.note,
    )


def rows(report: QuantReport) -> tuple[tuple[str, ...], ...]:
    """A row per format under :data:`HEADINGS`, the one with most bytes first; cells are text."""
    groups: dict[tuple[str, str], list[LayerReport]] = {}
    for layer in report.layers:
        groups.setdefault((layer.kind, layer.format), []).append(layer)
    ordered = sorted(groups.items(), key=lambda item: -sum(x.stored_bytes for x in item[1]))
    return tuple(_cells(kind, name, layers, report) for (kind, name), layers in ordered)


def layer_rows(report: QuantReport) -> tuple[tuple[str, ...], ...]:
    """A row per layer under :data:`LAYER_HEADINGS`, in the order of the file; cells are text."""
    return tuple(
        (
            layer.name,
            layer.format,
            "x".join(map(str, layer.shape)),
            *_cells(layer.kind, layer.format, [layer], report)[3:],
        )
        for layer in report.layers
    )


def notes(report: QuantReport) -> list[str]:
    """What a reader of the table must know."""
    touched, left = (report.share("matrix", quantized=value) for value in (True, False))
    conv = report.share("convolution", quantized=False)
    lines = [
        f"{report.name}: {report.stored_bytes / 1e6:.1f} MB, "
        f"{report.weight_count / 1e6:.1f} million weights. {touched:.1%} of them are quantized, "
        f"{left:.1%} are matrices that are not, {conv:.1%} convolutions, which no format touches.",
    ]
    if report.reference:
        found = report.fidelity
        sqnr = None if found is None else found.sqnr_db
        if sqnr is not None:
            lines.append(f"Quantized layers against {report.reference}: SQNR {sqnr:.1f} dB.")
    else:
        lines.append("No reference file was given, so errors are blank.")
    broken = [layer.name for layer in report.layers if layer.note.endswith(NOT_FINITE)]
    if broken:
        named = ", ".join(broken[:WORST])
        lines.append(
            f"Layers with NaN or infinities, here or in the reference: {len(broken)} ({named})."
        )
    if not any(layer.executed for layer in report.layers):
        lines.append("Nothing was counted as executed: counts are those of a model that sampled.")
    worst = sorted(
        (layer.fidelity.sqnr_db, layer.name)
        for layer in report.layers
        if layer.is_quantized and layer.fidelity is not None and layer.fidelity.sqnr_db is not None
    )[:WORST]
    if worst:
        named = ", ".join(f"{name} ({value:.1f} dB)" for value, name in worst)
        lines.append(f"Least SQNR: {named}.")
    return lines


def _cells(
    kind: str, name: str, layers: Sequence[LayerReport], report: QuantReport
) -> tuple[str, ...]:
    weights = sum(layer.weight_count for layer in layers)
    nbytes = sum(layer.stored_bytes for layer in layers)
    compared = [layer.fidelity for layer in layers if layer.fidelity is not None]
    found: Fidelity | None = reduce(add, compared) if compared else None
    executed = sorted({layer.executed for layer in layers if layer.executed})
    return (
        name if kind == "matrix" else f"{name} ({kind})",
        str(len(layers)),
        f"{weights / report.weight_count:.1%}",
        f"{nbytes / 1e6:.1f}",
        f"{8 * nbytes / weights:.2f}",
        _number(None if found is None else found.sqnr_db, ".1f"),
        _number(None if found is None else found.cosine, ".6f"),
        _number(None if found is None else found.max_error, ".3g"),
        ", ".join(executed) or BLANK,
    )


def _number(value: float | None, form: str) -> str:
    return BLANK if value is None else format(value, form)
