"""``nodes.csv``: a row for each node of each watched prompt."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ..measure.graph.costs import GraphCost, NodeCost
from ..tables.csv import csv_text

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
]


def append_nodes(cost: GraphCost, path: Path) -> None:
    """Add the nodes of one prompt to the table at ``path``, which is made if need be.

    Raises:
        OSError: it cannot be written.
        ValueError: the file there is no ``nodes.csv`` of this version; it is left alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [[_row(cost, node)[name] for name in NODE_COLUMNS] for node in cost.nodes]
    if path.exists():
        check_nodes_table(path)
    else:
        rows.insert(0, list(NODE_COLUMNS))
    # One write, at the end of the file: no reader sees half of a prompt.
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(csv_text(rows))


def check_nodes_table(path: Path) -> None:
    """See that rows can be added to ``path``.

    Raises:
        OSError: it cannot be read.
        ValueError: it has other columns.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        header = next(csv.reader(file), [])
    if header != NODE_COLUMNS:
        raise ValueError(
            f"{path} is no nodes.csv of this WattBench version: its columns differ. Choose another "
            "folder, or move that file."
        )


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
