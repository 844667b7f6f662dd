"""``nodes.csv``: a row for each node of each watched prompt."""

from __future__ import annotations

import csv
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..measure.graph.costs import GraphCost, NodeCost
from ..tables.csv import csv_text
from ..tables.files import writable

CHECKSUM = "crc32"
MAX_LINE_BYTES = 65536

NODES_SCHEMA_VERSION = 1
"""Raised whenever a column of ``nodes.csv`` changes its meaning."""

NODE_COLUMNS = [
    "schema_version",
    "prompt_id",
    "started_at",
    "node_id",
    "parent_id",
    "display_id",
    "class_type",
    "title",
    "state",
    "start_s",
    "time_s",
    "energy_j",
    "energy_method",
    "energy_meter",
    "peak_vram_bytes",
    "vram_source",
    "device",
    "note",
    "crc32",
]
"""``crc32`` is a checksum of what a line holds before it, in eight hexadecimal digits."""


def append_nodes(cost: GraphCost, path: Path) -> None:
    """Add the nodes of one prompt to the table at ``path``, which is made if need be.

    They are on the disk when this returns. A line that a crash has cut short stays as it is.

    Raises:
        OSError: it cannot be written.
        ValueError: the file there is no ``nodes.csv`` of this version; it is left alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = check_nodes_table(path) if path.exists() else []
    lines = [] if columns else [_line(NODE_COLUMNS)]
    for node in cost.nodes:
        row = _row(cost, node)
        line = _line([row[column] for column in NODE_COLUMNS if column != CHECKSUM])
        is_sealed = not columns or CHECKSUM in columns
        lines.append(f"{line},{_checksum(line)}" if is_sealed else line)
    # One write, at the end of the file: no reader sees half of a prompt.
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            lines = lines if file.read(1) == b"\n" else ["", *lines]
        file.write("".join(f"{line}\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())


def check_nodes_table(path: Path) -> list[str]:
    """See that rows can be added to ``path``; its columns, none where it is empty.

    Raises:
        OSError: it cannot be read.
        ValueError: it has other columns.
    """
    with path.open("rb") as file:
        columns = _columns(file.readline(MAX_LINE_BYTES))
    if columns not in ([], NODE_COLUMNS, NODE_COLUMNS[:-1]):
        raise ValueError(
            f"{path} is no nodes.csv of this WattBench version: its columns differ. Choose another "
            "folder, or move that file."
        )
    return columns


def broken_lines(data: bytes) -> tuple[int, list[tuple[int, str]]]:
    """How many rows a ``nodes.csv`` has that are whole, and each other line with its reason.

    Raises:
        ValueError: it has other columns.
    """
    first, *lines = data.split(b"\n")
    columns = _columns(first)
    if columns not in (NODE_COLUMNS, NODE_COLUMNS[:-1]):
        raise ValueError("it is no nodes.csv of this WattBench version: its columns differ")
    whole, broken = 0, []
    for number, raw in enumerate(lines, 2):
        text = raw.decode("utf-8", "surrogateescape").strip("\r\x00")
        if not text:
            continue
        kept, _, checksum = text.rpartition(",")
        if len(_cells(text)) != len(columns):
            broken.append((number, "cut short or damaged: it has not as many cells as the header"))
        elif columns[-1] == CHECKSUM and checksum != _checksum(kept):
            broken.append((number, "damaged: its checksum is not that of its bytes"))
        else:
            whole += 1
    return whole, broken


def _cells(line: str) -> list[str]:
    """The cells of a whole line; none of one that ends within quotes, or that csv cannot read."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return []


def _columns(line: bytes) -> list[str]:
    """The cells of a header; none of an empty line."""
    text = line.decode("utf-8-sig", "replace").strip("\r\n")
    return _cells(text)


def _line(cells: Sequence[Any]) -> str:
    """One line of the table: a row never takes several."""
    flat = [writable(" ".join(cell.split())) if isinstance(cell, str) else cell for cell in cells]
    return csv_text([flat]).removesuffix("\n")


def _checksum(line: str) -> str:
    return f"{zlib.crc32(line.encode('utf-8', 'surrogateescape')):08x}"


def _row(cost: GraphCost, node: NodeCost) -> dict[str, Any]:
    known = node.node
    return {
        "schema_version": NODES_SCHEMA_VERSION,
        "prompt_id": cost.prompt_id,
        "started_at": cost.started_at,
        "node_id": known.node_id,
        "parent_id": known.parent_id,
        "display_id": known.display_id,
        "class_type": known.class_type,
        "title": known.title,
        "state": node.state,
        "start_s": node.start_s,
        "time_s": node.time_s,
        "energy_j": node.energy.energy_j if node.energy else None,
        "energy_method": node.energy.method if node.energy else "",
        "energy_meter": node.energy.meter if node.energy else "",
        "peak_vram_bytes": node.vram.peak_bytes if node.vram else None,
        "vram_source": node.vram.source if node.vram else "",
        "device": cost.device,
        "note": _note(cost, node),
    }


def _note(cost: GraphCost, node: NodeCost) -> str:
    """Why a value of this row is blank, or what to know of it."""
    notes = [node.note]
    if node.time_s is not None:
        notes.append(f"energy: {cost.energy_note}" if cost.energy_note else "")
        notes.append(f"VRAM: {cost.vram_note}" if cost.vram_note else "")
    return "; ".join(note for note in notes if note)
