"""The history: what the last prompts cost, a line each, in a file that stays small.

One process writes it. Each line ends with a checksum of itself; what is damaged is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...tables.files import write_bytes
from ..protocol.journal import checked, sealed
from .costs import GraphCost, NodeCost

SCHEMA_VERSION = 1
"""Raised whenever a field of an entry changes its meaning."""

MOST_PROMPTS = 1000
"""So many can be asked for at most."""

MOST_BYTES = 8 * 2**20
"""Older entries are dropped where the file would be larger."""

MOST_ENTRY_BYTES = 2**20
"""An entry that is larger is kept without its nodes."""

SLACK = 1.25
"""The file is written anew when it has so many times the entries that are kept."""

TOO_MANY_NODES = "the prompt had too many nodes to keep them all"

TEXTS = ("prompt_id", "started_at", "device", "state")
NUMBERS = ("time_s", "energy_j", "error_j", "peak_vram_bytes")
LISTS = ("nodes", "loads", "fallbacks", "notes")


@dataclass(frozen=True)
class Entries:
    """What the file holds, oldest first, and how many of its lines are damaged."""

    prompts: tuple[dict[str, Any], ...]
    damaged_count: int


class HistoryTakenError(RuntimeError):
    """Another process writes this history."""


class History:
    """Writes the file; enter it to be its one writer.

    Raises:
        HistoryTakenError: on entering, another process is.
        OSError: on entering, the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_suffix(".lock"), timeout=0, thread_local=False)

    def __enter__(self) -> History:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise HistoryTakenError(
                f"another ComfyUI keeps the history {self.path.name} of this user folder; give "
                "this one a user folder of its own (--user-directory)"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def append(self, entry: dict[str, Any], most: int) -> None:
        """Add a prompt; the oldest are dropped where there are more than ``most``.

        Raises:
            OSError: it cannot be written.
        """
        line = _line(entry)
        if len(line) > MOST_ENTRY_BYTES:
            notes = [*entry["notes"], TOO_MANY_NODES]
            line = _line({**entry, "nodes": [], "loads": [], "notes": notes})
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)
        lines = self.path.read_bytes().splitlines(keepends=True)
        if len(lines) > SLACK * most or sum(map(len, lines)) > MOST_BYTES:
            write_bytes(b"".join(_newest(lines, most)), self.path)

    def clear(self) -> None:
        """Forget all prompts.

        Raises:
            OSError: the file cannot be written.
        """
        if self.path.exists():
            write_bytes(b"", self.path)


def entry_of(
    cost: GraphCost,
    workflow_id: str | None,
    error_j: float | None,
    loads: Sequence[Mapping[str, Any]],
    fallbacks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What is kept of a prompt: numbers in SI units, ``None`` where nothing was measured.

    Its nodes are named by type and title; no text that they were given is kept.

    Args:
        error_j: how many joules the energy of the prompt, or of a node, may be off by.
        loads: ``{"node_id", "t_s", "model", "bytes"}`` of what came into device memory, or left it.
        fallbacks: ``{"node_id", "texts"}`` of nodes whose kernel or format was not what ran.
    """
    states = {node.state for node in cost.nodes}
    notes = (
        f"Energy: {cost.energy_note}" if cost.energy_note else "",
        f"VRAM: {cost.vram_note}" if cost.vram_note else "",
    )
    return {
        "prompt_id": cost.prompt_id,
        "workflow_id": workflow_id,
        "started_at": cost.started_at,
        "device": cost.device,
        "state": "failed" if "failed" in states else "executed",
        "time_s": cost.time_s,
        "energy_j": cost.energy.energy_j if cost.energy else None,
        "error_j": error_j,
        "meter": cost.energy.meter if cost.energy else None,
        "method": cost.energy.method if cost.energy else None,
        "peak_vram_bytes": cost.vram.peak_bytes if cost.vram else None,
        "notes": [note for note in notes if note],
        "nodes": [_node(node) for node in cost.nodes if node.state != "not_run"],
        "loads": list(loads),
        "fallbacks": list(fallbacks),
    }


def _node(cost: NodeCost) -> dict[str, Any]:
    return {
        "node_id": cost.node.node_id,
        "class_type": cost.node.class_type,
        "title": cost.node.title,
        "state": cost.state,
        "start_s": cost.start_s,
        "time_s": cost.time_s,
        "energy_j": cost.energy.energy_j if cost.energy else None,
        "peak_vram_bytes": cost.vram.peak_bytes if cost.vram else None,
        "note": cost.note,
    }


def read_history(path: Path, most: int = MOST_PROMPTS) -> Entries:
    """The newest entries, ``most`` of them. Nothing where there is no file.

    Of a file that is larger than any of ours the end is read.
    """
    if not path.exists():
        return Entries((), 0)
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * MOST_BYTES))
        lines = file.read().splitlines()
    found = [_entry(line) for line in lines if line.strip()]
    known = [entry for entry in found if entry is not None]
    return Entries(tuple(known[-most:]), len(found) - len(known))


def _newest(lines: Iterable[bytes], most: int) -> list[bytes]:
    """The last whole lines, so many at most and of half the largest size, so that it lasts."""
    kept: list[bytes] = []
    size = 0
    for line in reversed([line for line in lines if _entry(line) is not None]):
        size += len(line)
        if len(kept) >= most or size > MOST_BYTES // 2:
            break
        kept.insert(0, line)
    return kept


def _line(entry: dict[str, Any]) -> bytes:
    record = {"schema_version": SCHEMA_VERSION, **entry}
    text = sealed(json.dumps(record, allow_nan=False, separators=(",", ":")))
    return f"{text}\n".encode()


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line says; ``None`` where it is damaged, foreign, or of a later version."""
    try:
        data = checked(line.decode("utf-8", "surrogateescape").strip())
    except ValueError:
        return None
    if data.pop("crc32", None) is None or data.pop("schema_version", None) != SCHEMA_VERSION:
        return None
    is_whole = (
        all(isinstance(data.get(name), str) for name in TEXTS)
        and all(isinstance(data.get(name), (int, float, type(None))) for name in NUMBERS)
        and all(isinstance(data.get(name), list) for name in LISTS)
    )
    return data if is_whole else None
