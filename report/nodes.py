"""``nodes.csv``: a row for each node of each watched prompt."""

from __future__ import annotations

import csv
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..measure.graph.costs import GraphCost, NodeCost
from ..tables.columns import Column, cells, names
from ..tables.csv import csv_text
from ..tables.files import writable

MAX_LINE_BYTES = 65536

NODES_SCHEMA_VERSION = 1
"""Raised whenever a column of ``nodes.csv`` changes its meaning."""


@dataclass(frozen=True)
class NodeRow:
    """A node of a watched prompt."""

    cost: GraphCost
    node: NodeCost


def _of_prompt(name: str) -> Callable[[NodeRow], object]:
    return lambda row: getattr(row.cost, name)


def _of_node(name: str) -> Callable[[NodeRow], object]:
    return lambda row: getattr(row.node, name)


def _of_graph(name: str) -> Callable[[NodeRow], object]:
    return lambda row: getattr(row.node.node, name)


def _of_energy(name: str, blank: object = "") -> Callable[[NodeRow], object]:
    return lambda row: getattr(row.node.energy, name) if row.node.energy else blank


def _of_vram(name: str, blank: object = "") -> Callable[[NodeRow], object]:
    return lambda row: getattr(row.node.vram, name) if row.node.vram else blank


MEASURED: tuple[Column[NodeRow], ...] = (
    Column("schema_version", "integer", "", "of this table", lambda row: NODES_SCHEMA_VERSION),
    Column("prompt_id", "text", "", "ComfyUI's id of the prompt", _of_prompt("prompt_id")),
    Column("started_at", "text", "", "ISO 8601, UTC", _of_prompt("started_at")),
    Column(
        "node_id",
        "text",
        "",
        "as ComfyUI runs it; `7:3` is node 3 of the subgraph node 7",
        _of_graph("node_id"),
    ),
    Column(
        "parent_id",
        "text",
        "",
        "the subgraph node that it lies in, or the node that made it",
        _of_graph("parent_id"),
    ),
    Column(
        "display_id",
        "text",
        "",
        "the node of the workflow that stands for it",
        _of_graph("display_id"),
    ),
    Column("class_type", "text", "", "the node's type", _of_graph("class_type")),
    Column("title", "text", "", "its title where the prompt holds one", _of_graph("title")),
    Column("state", "text", "", "`executed`, `cached`, `failed` or `not_run`", _of_node("state")),
    Column("start_s", "number", "s", "from the start of the watching", _of_node("start_s")),
    Column(
        "time_s",
        "number",
        "s",
        "the node's own, without the nodes that it made",
        _of_node("time_s"),
    ),
    Column(
        "energy_j", "number", "J", "of the whole device in that time", _of_energy("energy_j", None)
    ),
    Column("energy_method", "text", "", "how it was found, and by what", _of_energy("method")),
    Column("energy_meter", "text", "", "how it was found, and by what", _of_energy("meter")),
    Column(
        "peak_vram_bytes",
        "integer",
        "B",
        "the highest reading in that time",
        _of_vram("peak_bytes", None),
    ),
    Column("vram_source", "text", "", "what was read", _of_vram("source")),
    Column("device", "text", "", "its name", _of_prompt("device")),
    Column("note", "text", "", "why a cell is empty, or what to know", lambda row: _note(row)),
)

SEAL: Column[NodeRow] = Column(
    "crc32",
    "text",
    "",
    "of what the line holds before it, in eight hexadecimal digits; `wattbench journal check "
    "nodes.csv` compares",
    lambda row: _checksum(_measured(row)),
)

NODE_COLUMNS = names((*MEASURED, SEAL))


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
        row = NodeRow(cost, node)
        is_sealed = not columns or SEAL.name in columns
        lines.append(_measured(row) + (f",{SEAL.value(row)}" if is_sealed else ""))
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
        elif columns[-1] == SEAL.name and checksum != _checksum(kept):
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


def _measured(row: NodeRow) -> str:
    """A line without its seal."""
    return _line(list(cells(MEASURED, row).values()))


def _note(row: NodeRow) -> str:
    """Why a value of this row is blank, or what to know of it."""
    cost, node = row.cost, row.node
    notes = [node.note]
    if node.time_s is not None:
        notes.append(f"energy: {cost.energy_note}" if cost.energy_note else "")
        notes.append(f"VRAM: {cost.vram_note}" if cost.vram_note else "")
    return "; ".join(note for note in notes if note)
