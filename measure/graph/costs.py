"""What each node of a graph cost: time, energy and VRAM, or a blank with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from ...records import EnergyReading, MemoryReading, Phase
from ..recording.instrument import Recording
from ..recording.sampler import VRAM_PERIOD_S
from .log import NodeLog

State = Literal["executed", "cached", "failed", "not_run"]
"""``cached``: the host took the node's result, or that of a node that needs it, from its cache."""

LEAST_TICKS = 2
"""A node of fewer ticks of the meter has no energy of its own: on an H200 one of 0.11 s, little
more than a tick, read 27 % low."""

FAILED = "failed or was cancelled"
OVERLAPPED = "ran beside other nodes: its time is what none of them had that started after it"
UNSEEN = "ran before the watching began"
NOT_REACHED = "the prompt ended before it"
NOT_NEEDED = "nothing that ran needed it"
NOT_TOLD = "behind a lazy input: not needed, or from the cache; the host does not tell which"


@dataclass(frozen=True)
class GraphNode:
    """A node as the host knows it.

    ``parent_id`` is the subgraph node that it lies in, or the node that made it while the graph
    ran; ``display_id`` the node of the user's graph that stands for it. ``sources`` are the nodes
    that its inputs come from, ``lazy_sources`` those of inputs that it asks for on demand.
    """

    node_id: str
    class_type: str
    title: str = ""
    parent_id: str = ""
    display_id: str = ""
    sources: tuple[str, ...] = ()
    lazy_sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeCost:
    """One node's own cost; that of the nodes it made or contains is theirs.

    ``start_s`` counts from the start of the recording. ``note`` says why a value is blank, as far
    as that is the node's own affair.
    """

    node: GraphNode
    state: State
    start_s: float | None = None
    time_s: float | None = None
    energy: EnergyReading | None = None
    vram: MemoryReading | None = None
    note: str = ""


@dataclass(frozen=True)
class GraphCost:
    """What a prompt cost. ``energy`` covers all nodes that ran, those too short for one as well."""

    prompt_id: str
    started_at: str
    device: str
    time_s: float
    nodes: tuple[NodeCost, ...]
    energy: EnergyReading | None
    energy_note: str
    vram: MemoryReading | None
    vram_note: str
    flags: tuple[str, ...] = ()


def graph_cost(
    prompt_id: str, device: str, recording: Recording, log: NodeLog, nodes: Sequence[GraphNode]
) -> GraphCost:
    """The cost of each of ``nodes``, in the order in which they started.

    Args:
        device: its name.
        recording: its phases are the pieces of ``log``, named by node.
        nodes: every node of the graph, those that were made while it ran as well.
    """
    states = _states(log, nodes)
    resolution_s = energy_resolution_s(recording)
    costs = [
        _cost(node, states[node.node_id], recording, log, resolution_s)
        if node.node_id in log.started
        else NodeCost(node, states[node.node_id], note=_why_nothing(node, states, log, nodes))
        for node in nodes
    ]
    costs.sort(key=lambda cost: float("inf") if cost.start_s is None else cost.start_s)
    return GraphCost(
        prompt_id=prompt_id,
        started_at=recording.started_at,
        device=device,
        time_s=recording.end_s - recording.start_s,
        nodes=tuple(costs),
        energy=_sum_energy(recording.phases),
        energy_note=recording.energy_note,
        vram=recording.vram,
        vram_note=recording.vram_note,
        flags=recording.board.flags,
    )


def energy_resolution_s(recording: Recording) -> float:
    """The shortest time whose energy the meter can tell, in seconds.

    For a counter two of its ticks; for power twice the time from one change of its value to the
    next, because a sensor is read more often than it measures; 0 where power never changed.
    """
    counter, power = recording.trace.counter, recording.trace.power
    if counter:
        changes = [tick.t_s for tick in counter]
    else:
        changes = [b.t_s for a, b in pairwise(power) if a.power_w != b.power_w]
    return LEAST_TICKS * float(np.median(np.diff(changes))) if len(changes) > 1 else 0.0


def _states(log: NodeLog, nodes: Sequence[GraphNode]) -> dict[str, State]:
    """A host says nothing of a cached node whose result another one took: that is concluded here.

    What a node that got as far as its inputs depends on has run or was cached.
    """
    by_id = {node.node_id: node for node in nodes}
    states: dict[str, State] = dict.fromkeys(by_id, "not_run")
    for node_id in log.finished & by_id.keys():
        states[node_id] = "executed" if node_id in log.started else "cached"
    states.update(dict.fromkeys(log.missed & by_id.keys(), "executed"))
    culprit = log.unfinished[-1] if log.unfinished else ""
    while culprit in log.unfinished:
        states[culprit] = "failed"
        culprit = by_id[culprit].parent_id
    reached = [node_id for node_id, state in states.items() if state != "not_run"]
    needed = _behind(reached, {node.node_id: node.sources for node in nodes})
    for node_id in needed - log.started:
        if states[node_id] == "not_run":
            states[node_id] = "cached"
    return states


def _behind(starts: Iterable[str], sources: dict[str, tuple[str, ...]]) -> set[str]:
    """All nodes that ``starts`` depend on, directly or not."""
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        for source in sources[waiting.pop()]:
            if source in sources and source not in seen:
                seen.add(source)
                waiting.append(source)
    return seen


def _why_nothing(
    node: GraphNode, states: dict[str, State], log: NodeLog, nodes: Sequence[GraphNode]
) -> str:
    """Why a node that was not seen to start has no cost; empty where its state says it."""
    if states[node.node_id] == "cached":
        return ""
    if node.node_id in log.missed:
        return UNSEEN
    if log.unfinished:
        return NOT_REACHED
    ran = [node_id for node_id, state in states.items() if state != "not_run"]
    behind = _behind(ran, {n.node_id: (*n.sources, *n.lazy_sources) for n in nodes})
    return NOT_TOLD if node.node_id in behind else NOT_NEEDED


def _cost(
    node: GraphNode, state: State, recording: Recording, log: NodeLog, resolution_s: float
) -> NodeCost:
    pieces = [phase for phase in recording.phases if phase.name == node.node_id]
    time_s = sum(piece.duration_s for piece in pieces)
    energy = _sum_energy(pieces)
    vram = _peak_vram(pieces, recording)
    notes = [
        FAILED if state == "failed" else NOT_REACHED if state == "not_run" else "",
        OVERLAPPED if node.node_id in log.overlapped else "",
    ]
    if energy is not None and time_s < resolution_s:
        energy = None
        notes.append(
            f"no energy of its own: shorter than the {1000 * resolution_s:.0f} ms that the meter "
            "can tell, so it is in the prompt's total only"
        )
    if vram is None and recording.vram_samples:
        notes.append(f"no VRAM: not read while it ran (every {1000 * VRAM_PERIOD_S:.0f} ms)")
    return NodeCost(
        node,
        state,
        pieces[0].start_s,
        time_s,
        energy,
        vram,
        "; ".join(note for note in notes if note),
    )


def _sum_energy(pieces: Sequence[Phase]) -> EnergyReading | None:
    """Energy of all pieces, by the method of the longest; ``None`` where one has none."""
    readings = [piece.energy for piece in pieces if piece.energy is not None]
    if not readings or len(readings) < len(pieces):
        return None
    return replace(
        max(readings, key=lambda reading: reading.duration_s),
        energy_j=sum(reading.energy_j for reading in readings),
        duration_s=sum(reading.duration_s for reading in readings),
    )


def _peak_vram(pieces: Sequence[Phase], recording: Recording) -> MemoryReading | None:
    spans = [(piece.start_s, piece.start_s + piece.duration_s) for piece in pieces]
    used = [
        sample.used_bytes
        for sample in recording.vram_samples
        if any(start_s <= sample.t_s <= end_s for start_s, end_s in spans)
    ]
    if not used or recording.vram is None:
        return None
    return MemoryReading(max(used), sum(used) / len(used), recording.vram.source, len(used))
