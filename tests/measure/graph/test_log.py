"""Each moment belongs to one node, whatever order a host's events come in."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.graph.log import NodeLog


def log_of(*events):
    log = NodeLog()
    for mark, (kind, node_id) in enumerate(events):
        getattr(log, kind)(node_id, mark)
    return log


def test_nodes_one_after_another():
    log = log_of(("start", "a"), ("finish", "a"), ("start", "b"), ("finish", "b"))
    assert log.pieces(9) == [("a", 0, 1), ("b", 2, 3)]
    assert (log.unfinished, log.overlapped) == ((), set())


def test_a_node_that_makes_others_has_what_they_leave_over():
    log = log_of(("start", "a"), ("start", "a.0"), ("finish", "a.0"), ("finish", "a"))
    assert log.pieces(9) == [("a", 0, 1), ("a.0", 1, 2), ("a", 2, 3)]


def test_a_node_that_waits_for_a_lazy_input_starts_twice_and_finishes_once():
    log = log_of(("start", "a"), ("start", "b"), ("finish", "b"), ("start", "a"), ("finish", "a"))
    assert log.pieces(9) == [("a", 0, 1), ("b", 1, 2), ("a", 2, 3), ("a", 3, 4)]
    assert log.unfinished == ()


def test_a_node_beside_another_is_named():
    log = log_of(("start", "a"), ("start", "b"), ("finish", "a"), ("finish", "b"))
    assert log.overlapped == {"a"}
    assert log.pieces(9) == [("a", 0, 1), ("b", 1, 2), ("b", 2, 3)]


def test_a_cached_node_has_no_time():
    log = log_of(("finish", "a"), ("start", "b"), ("finish", "b"))
    assert log.pieces(9) == [("b", 1, 2)]
    assert (log.finished, log.started) == ({"a", "b"}, {"b"})


def test_the_node_that_failed_has_the_time_until_the_end():
    log = log_of(("start", "a"), ("finish", "a"), ("start", "b"))
    assert log.pieces(9) == [("a", 0, 1), ("b", 2, 9)]
    assert log.unfinished == ("b",)


@given(st.lists(st.tuples(st.sampled_from(("start", "finish")), st.sampled_from("abc"))))
def test_pieces_never_overlap_and_belong_to_started_nodes(events):
    log = log_of(*events)
    pieces = log.pieces(len(events))
    assert all(a.end <= b.start for a, b in pairwise(pieces))
    assert {piece.node_id for piece in pieces} == log.started
