"""Which node of a graph had each moment, by what a host tells of starts and ends."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple


class Piece(NamedTuple):
    """A stretch of time that one node had, between two marks of a timeline."""

    node_id: str
    start: Any
    end: Any


class NodeLog:
    """Gives each moment to the node that started last and has not finished.

    So moments are never counted twice: a node that makes other nodes, or waits for one, has only
    what they leave over. A node that runs beside others (an asynchronous one) has the moments in
    which it is the last that started; ``overlapped`` names those that were not when they finished.
    ``missed`` are nodes that ran before the log began.
    """

    def __init__(self) -> None:
        self.started: set[str] = set()
        self.finished: set[str] = set()
        self.overlapped: set[str] = set()
        self.missed: set[str] = set()
        self._open: list[str] = []
        self._switches: list[tuple[Any, str | None]] = []

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Nodes that started and have not finished; the last one had the latest moment."""
        return tuple(self._open)

    def start(self, node_id: str, mark: Any) -> None:
        """``node_id`` starts at ``mark``, or starts again after it had to wait for its inputs."""
        if node_id in self._open:
            self._open.remove(node_id)
        self._open.append(node_id)
        self.started.add(node_id)
        self._switches.append((mark, node_id))

    def finish(self, node_id: str, mark: Any) -> None:
        """``node_id`` has its result at ``mark``; without a start, it was in the host's cache."""
        self.finished.add(node_id)
        if node_id not in self._open:
            return
        if self._open[-1] != node_id:
            self.overlapped.add(node_id)
        self._open.remove(node_id)
        self._switches.append((mark, self._open[-1] if self._open else None))

    def pieces(self, end: Any) -> list[Piece]:
        """All stretches in order of time; a node that is unfinished has the last until ``end``."""
        borders = [*self._switches, (end, None)]
        return [
            Piece(node_id, start, following)
            for (start, node_id), (following, _) in pairwise(borders)
            if node_id is not None
        ]
