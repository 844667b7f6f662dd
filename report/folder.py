"""What lies in a folder of results besides its runs: a verdict of ``tune``, and pictures."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..incoming import IncomingError, read_file
from ..tables.csv import read_frame

if TYPE_CHECKING:
    import pandas as pd

CELLS_FILE = "cells.csv"
CELL_COLUMNS = ("cell", "workload", "status", "visits", "reason")
COST_COLUMNS = tuple(
    f"{quantity}_per_img{kind}"
    for quantity in ("s", "j")
    for kind in ("", "_ratio", "_ratio_low", "_ratio_high")
)
"""Of a matrix's cells that were measured: their means, and ratios to their baselines by blocks."""

MAX_VERDICT_BYTES = 2**22
MAX_PICTURE_BYTES = 2**26
MAX_PICTURE_PX = 2**26
"""Of 8192 x 8192: an empty picture of many times as many fits into a small file."""

MOST_PICTURES = 6
THUMBNAIL_PX = 360
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
CANDIDATE_COLUMNS = (
    "candidate",
    "stage",
    "blocks",
    "ratio",
    "ratio_low",
    "ratio_high",
    "s_per_img",
    "j_per_img",
    "peak_vram_bytes",
    "picture_share",
    "fault",
)


@dataclass(frozen=True)
class Tuned:
    """What ``wattbench tune`` found; ``candidates`` is ``None`` where there is no such table."""

    sentence: str
    settings: dict[str, Any]
    objective: str
    rule: str
    left_out: tuple[str, ...]
    candidates: pd.DataFrame | None


@dataclass(frozen=True)
class Picture:
    """A small JPEG as a data URI; ``prompts`` are the texts that ComfyUI wrote into the file."""

    uri: str
    width_px: int
    height_px: int
    prompts: tuple[str, ...] = ()


def tuned_of(folder: Path) -> Tuned | None:
    """The verdict in a folder; ``None`` where there is none.

    Raises:
        ValueError: ``verdict.json`` or ``candidates.csv`` is something else.
    """
    path = folder / "verdict.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(read_file(path, MAX_VERDICT_BYTES))
    except (IncomingError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"verdict.json cannot be read: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("sentence"), str):
        raise ValueError("verdict.json has no sentence: it is not from `wattbench tune`")
    settings, left_out = found.get("settings"), found.get("left_out")
    return Tuned(
        found["sentence"],
        settings if isinstance(settings, dict) else {},
        str(found.get("objective", "")),
        str(found.get("rule", "")),
        tuple(map(_line, left_out)) if isinstance(left_out, list) else (),
        _candidates(folder / "candidates.csv"),
    )


def cells_in(folder: Path) -> pd.DataFrame | None:
    """The cells of a matrix, as it wrote them; ``None`` where there is no such table.

    Raises:
        ValueError: ``cells.csv`` is something else.
    """
    path = folder / CELLS_FILE
    if not path.is_file():
        return None
    frame = read_frame(path, dict.fromkeys(CELL_COLUMNS, str))
    missing = set(CELL_COLUMNS) - set(frame.columns)
    if missing:
        raise ValueError(f"{CELLS_FILE} lacks the columns {', '.join(sorted(missing))}")
    try:
        costs = {column: frame[column].astype(float) for column in COST_COLUMNS if column in frame}
    except ValueError as error:
        raise ValueError(f"{CELLS_FILE} has a cell that is no number: {error}") from error
    return frame.assign(**{column: costs.get(column, float("nan")) for column in COST_COLUMNS})


def pictures_in(folder: Path) -> Iterator[Path]:
    """The pictures of a folder of results, by name."""
    inside = folder / "pictures"
    if inside.is_dir():
        yield from sorted(p for p in inside.iterdir() if p.suffix.lower() in SUFFIXES)


def place_of(name: str, folder: Path) -> Path | None:
    """Where a picture lies that a table names; ``None`` if that is not within ``folder``."""
    try:
        path = (folder / name).resolve()
        is_there = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):
        return None
    return path if is_there and path.suffix.lower() in SUFFIXES else None


def thumbnail(path: Path, with_prompts: bool, scrub: Callable[[str], str]) -> Picture | None:
    """A picture, made small, without what its file says of itself; ``None`` if it is broken."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(read_file(path, MAX_PICTURE_BYTES))) as image:
            if image.width * image.height > MAX_PICTURE_PX:
                return None
            prompts = _prompts(image.info.get("prompt")) if with_prompts else ()
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    except (IncomingError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    data = io.BytesIO()
    small.save(data, "JPEG", quality=80)
    uri = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
    return Picture(uri, small.width, small.height, tuple(map(scrub, prompts)))


def _candidates(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    frame = read_frame(path)
    missing = set(CANDIDATE_COLUMNS) - set(frame.columns)
    if missing:
        raise ValueError(f"candidates.csv lacks the columns {', '.join(sorted(missing))}")
    numbers = [c for c in CANDIDATE_COLUMNS if c not in ("candidate", "stage", "fault")]
    try:
        frame[numbers] = frame[numbers].astype("float64")
    except (TypeError, ValueError) as error:
        raise ValueError(f"candidates.csv has a cell that is no number: {error}") from error
    texts = ["candidate", "stage", "fault"]
    frame[texts] = frame[texts].astype(object).fillna("").astype(str)
    return frame[list(CANDIDATE_COLUMNS)]


def _line(entry: object) -> str:
    if isinstance(entry, dict):
        return ", ".join(f"{key}: {value}" for key, value in entry.items())
    return str(entry)


def _prompts(written: object) -> tuple[str, ...]:
    """The texts of a graph in API format, as ComfyUI writes it into a PNG."""
    try:
        graph = json.loads(written) if isinstance(written, str) else {}
    except (ValueError, RecursionError):
        return ()
    nodes = graph.values() if isinstance(graph, dict) else ()
    inputs = [node.get("inputs") for node in nodes if isinstance(node, dict)]
    texts = [
        value
        for own in inputs
        if isinstance(own, dict)
        for key, value in own.items()
        if isinstance(value, str) and ("text" in key or "prompt" in key)
    ]
    return tuple(dict.fromkeys(text for text in texts if text.strip()))
