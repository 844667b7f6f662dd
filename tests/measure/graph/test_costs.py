"""Costs of nodes from a made-up recording, where the truth is known."""

import pytest

from wattbench.measure.graph.costs import (
    NOT_NEEDED,
    NOT_REACHED,
    NOT_TOLD,
    UNSEEN,
    GraphNode,
    energy_resolution_s,
    graph_cost,
)
from wattbench.measure.graph.log import NodeLog
from wattbench.measure.recording.instrument import Recording
from wattbench.records import (
    CounterSample,
    EnergyReading,
    MemoryReading,
    MemorySample,
    Phase,
    PowerSample,
    Trace,
)

GIB = 2**30
TICKS = tuple(CounterSample(i / 10, 10.0 * i) for i in range(60))


def node(node_id, *sources, **known):
    return GraphNode(node_id, f"Class{node_id}", sources=sources, **known)


def reading(energy_j, duration_s):
    if energy_j is None:
        return None
    method = "counter" if duration_s > 2 else "attributed"
    return EnergyReading(energy_j, duration_s, "nvml:0", "gpu", method, 10.0, 60)


def recorded(*pieces, trace=None, vram_samples=()):
    """A recording of ``(node, start_s, duration_s, energy_j or None)``."""
    return Recording(
        started_at="2026-01-01T00:00:00.000+00:00",
        start_s=100.0,
        end_s=106.0,
        phases=tuple(
            Phase(
                name, start_s, duration_s, None if joules is None else reading(joules, duration_s)
            )
            for name, start_s, duration_s, joules in pieces
        ),
        vram=MemoryReading(3 * GIB, 2.0 * GIB, "nvml:0, sampled", 9) if vram_samples else None,
        vram_samples=vram_samples,
        trace=Trace(counter=TICKS) if trace is None else trace,
    )


def log_of(*events):
    log = NodeLog()
    for kind, node_id in events:
        getattr(log, kind)(node_id, 0)
    return log


def ran(*node_ids):
    return log_of(*((kind, node_id) for node_id in node_ids for kind in ("start", "finish")))


def costs_of(recording, log, *nodes):
    cost = graph_cost("prompt", "a card", recording, log, nodes)
    return {item.node.node_id: item for item in cost.nodes}


def test_pieces_of_a_node_are_added_and_named_by_the_longest():
    recording = recorded(("a", 0, 3, 300.0), ("b", 3, 1, 50.0), ("a", 4, 1, 100.0))
    costs = costs_of(recording, ran("a", "b"), node("b", "a"), node("a"))
    assert list(costs) == ["a", "b"]
    a = costs["a"]
    assert (a.state, a.start_s, a.time_s) == ("executed", 0, 4)
    assert (a.energy.energy_j, a.energy.duration_s, a.energy.method) == (400.0, 4, "counter")
    assert costs["b"].energy.method == "attributed"


def test_shorter_than_two_ticks_is_blank_with_the_reason_and_counts_in_the_total():
    recording = recorded(("a", 0, 3, 300.0), ("b", 3, 0.19, 7.0), ("c", 4, 0.21, 9.0))
    cost = graph_cost("p", "card", recording, ran("a", "b", "c"), [node(i) for i in "abc"])
    a, b, c = cost.nodes
    assert b.energy is None
    assert "shorter than the 200 ms" in b.note
    assert b.time_s == 0.19
    assert c.energy.energy_j == 9.0
    assert a.note == c.note == ""
    assert cost.energy.energy_j == 316.0


def test_the_resolution_of_power_is_how_often_its_value_changes():
    """A sensor read every 10 ms that measures every 100 ms."""
    stale = Trace(power=tuple(PowerSample(i / 100, 100.0 + i // 10) for i in range(100)))
    assert energy_resolution_s(recorded(trace=stale)) == pytest.approx(0.2)
    steady = Trace(power=tuple(PowerSample(i / 100, 100.0) for i in range(100)))
    assert energy_resolution_s(recorded(trace=steady)) == 0


def test_without_a_meter_time_stays_and_nothing_is_guessed():
    recording = recorded(("a", 0, 3, None), ("b", 3, 1, None), trace=Trace())
    cost = graph_cost("p", "card", recording, ran("a", "b"), [node("a"), node("b")])
    assert cost.energy is None
    assert [(item.time_s, item.energy) for item in cost.nodes] == [(3, None), (1, None)]


def test_vram_is_the_peak_of_the_readings_while_the_node_ran():
    samples = tuple(MemorySample(t_s, int(gib * GIB)) for t_s, gib in ((0.5, 1), (2, 3), (3.5, 2)))
    recording = recorded(
        ("a", 0, 3, 1.0), ("b", 3, 0.4, 1.0), ("c", 3.4, 1, 1.0), vram_samples=samples
    )
    costs = costs_of(recording, ran("a", "b", "c"), *(node(i) for i in "abc"))
    assert [costs[i].vram and costs[i].vram.peak_bytes for i in "abc"] == [3 * GIB, None, 2 * GIB]
    assert costs["a"].vram.source == "nvml:0, sampled"
    assert "not read while it ran" in costs["b"].note


def test_what_the_cache_gave_is_cached_with_all_that_it_stands_on():
    """a <- b <- c: ComfyUI tells that b came from the cache, and never looks at a."""
    log = log_of(("finish", "b"), ("start", "c"), ("finish", "c"))
    costs = costs_of(
        recorded(("c", 0, 1, 1.0)), log, node("a"), node("b", "a"), node("c", "b"), node("d")
    )
    assert {i: cost.state for i, cost in costs.items()} == {
        "a": "cached",
        "b": "cached",
        "c": "executed",
        "d": "not_run",
    }
    assert costs["d"].note == NOT_NEEDED


def test_a_lazy_input_that_did_not_run_may_have_been_cached():
    """c asks for a on demand, and a stands on b; nothing knows of d."""
    nodes = (node("a", "b"), node("b"), node("c", lazy_sources=("a",)), node("d"))
    costs = costs_of(recorded(("c", 0, 1, 1.0)), ran("c"), *nodes)
    assert {i: cost.state for i, cost in costs.items()} == {
        "c": "executed",
        **dict.fromkeys("abd", "not_run"),
    }
    assert costs["a"].note == costs["b"].note == NOT_TOLD
    assert costs["d"].note == NOT_NEEDED


def test_after_a_failure_the_rest_is_not_run():
    """b was made by a and failed; c waits for a, and d had begun to wait for a lazy input."""
    log = log_of(("start", "d"), ("start", "a"), ("start", "b"))
    costs = costs_of(
        recorded(("d", 0, 1, 1.0), ("a", 1, 1, 1.0), ("b", 2, 2, 1.0)),
        log,
        node("a"),
        node("b", parent_id="a"),
        node("c", "a"),
        node("d", lazy_sources=("a",)),
    )
    assert {i: cost.state for i, cost in costs.items()} == {
        "d": "not_run",
        "a": "failed",
        "b": "failed",
        "c": "not_run",
    }
    assert costs["b"].time_s == 2
    assert "cancelled" in costs["b"].note
    assert costs["c"].note == costs["d"].note == NOT_REACHED


def test_a_node_that_ran_before_the_log_has_no_numbers():
    log = ran("b")
    log.missed.add("a")
    costs = costs_of(recorded(("b", 0, 1, 1.0)), log, node("a"), node("b", "a"))
    assert (costs["a"].state, costs["a"].time_s, costs["a"].note) == ("executed", None, UNSEEN)
