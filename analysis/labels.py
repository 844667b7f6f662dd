"""What conditions have in common, and what tells each from the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .columns import ENVIRONMENT_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[Any, Any]


def _text(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else ""
    return str(value)


def _size(row: Row) -> str:
    width, height = _text(row["width_px"]), _text(row["height_px"])
    return f"{width}x{height}" if width and height else ""


def _count(column: str, write: str, least: int = 1) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        count = row[column]
        return write.format(count) if _text(count) and count > least else ""

    return text


def _steps(row: Row) -> str:
    steps = _text(row["steps"])
    return f"{steps} step{'' if steps == '1' else 's'}" if steps else ""


def _cfg(row: Row) -> str:
    cfg = _text(row["cfg"])
    return _text(row["guidance"]) or (f"cfg {cfg}" if cfg else "")


def _named(column: str, name: str = "") -> Callable[[Row], str]:
    return lambda row: f"{name}{_text(row[column])}" if _text(row[column]) else ""


NAMED: dict[str, Callable[[Row], str]] = {
    "model": lambda row: _text(row["model"]) or _text(row["architecture"]),
    "size": _size,
    "batch": _count("batch_size", "batch {}"),
    "frames": _count("frames", "{} frames"),
    "sampling": lambda row: "/".join(filter(None, map(_text, (row["sampler"], row["scheduler"])))),
    "steps": _steps,
    "cfg": _cfg,
    "attention": _named("attention"),
    "weight_format": _named("weight_format"),
    "optimizations": lambda row: _text(row["optimizations"]) or "no optimization",
}
"""Parts of a condition's name, each written from a row of the summary."""

IN_COMMON = ("model", "size", "batch", "frames", "sampling", "steps", "cfg")
"""Those that are told of all conditions, where all of them have the same."""

OTHERWISE: dict[str, Callable[[Row], str]] = {
    "vae": _named("vae", "VAE "),
    "text_encoder": _named("text_encoder", "text encoder "),
    "prompts": _named("prompts", "prompts "),
    "energy_meter": _named("energy_meter", "meter "),
    **{column: _named(column, f"{column} ") for column in ENVIRONMENT_COLUMNS},
    "work": _named("work"),
}
"""What else may tell two conditions apart; said only where nothing above does."""

MARKS = {
    "[synthetic]": lambda row: row["weights"] == "synthetic",
    "[fall-backs]": lambda row: row["fallback_runs"] > 0,
    "[broken picture]": lambda row: row["broken_pictures"] > 0,
}


def labels_of(summary: pd.DataFrame) -> tuple[str, list[str]]:
    """What all rows of a summary have in common, and for each row what it differs by.

    A single row differs by nothing. No two rows have one label, unless all they differ in is what
    was counted alike.
    """
    rows = summary.to_dict("records")
    parts = {key: [write(row) for row in rows] for key, write in NAMED.items()}
    differing = [key for key, texts in parts.items() if len(set(texts)) > 1]
    for key, write in OTHERWISE.items():
        texts = [write(row) for row in rows]
        with_it = {**parts, key: texts}
        if _distinct(with_it, [*differing, key]) > _distinct(parts, differing):
            parts, differing = with_it, [*differing, key]
    marks = {mark: [bool(is_so(row)) for row in rows] for mark, is_so in MARKS.items()}
    shared = [mark for mark, of_rows in marks.items() if rows and all(of_rows)]
    common = [parts[key][0] for key in IN_COMMON if rows and key not in differing]
    own = {mark: of_rows for mark, of_rows in marks.items() if mark not in shared}
    labels = [
        " ".join(
            (
                ", ".join(filter(None, (parts[key][n] for key in differing))),
                *(mark for mark, of_rows in own.items() if of_rows[n]),
            )
        ).strip()
        for n in range(len(rows))
    ]
    return " ".join((", ".join(filter(None, common)), *shared)).strip(), labels


def _distinct(parts: Mapping[str, Sequence[str]], keys: Sequence[str]) -> int:
    return len(set(zip(*(parts[key] for key in keys), strict=True))) if keys else 1
