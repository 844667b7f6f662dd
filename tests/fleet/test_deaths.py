"""Real nodes of Ray: who dies or stands still, who is back by itself, and that nothing is lost."""

import signal
import time
from collections import Counter

import psutil
import pytest

from ..faults.test_kills import marked
from ..waiting import until
from .ray_fleet import WAIT_S, cards_of, running

pytestmark = pytest.mark.soak("minutes; test_on_ray.py carries a plan out on two nodes")

BEYOND_RAYS_OWN_S = 100
"""For longer than Ray by itself lets a node stand still: five times 3 s and 10 s."""


def test_a_plan_outlives_the_death_of_a_worker_and_of_a_node(fleet):
    fleet.up()
    # A worker dies: what it ran ends, and is asked for again.
    fleet.other.hold()
    run = fleet.run()
    [matrix] = until(lambda: running(fleet.other), WAIT_S)
    [worker] = [p for p in fleet.other.all("ray::") if matrix in p.children(recursive=True)]
    worker.kill()
    until(lambda: not psutil.pid_exists(matrix.pid) or matrix.status() == "zombie", WAIT_S)

    # Its node dies, too, and is up again: within one run it continues.
    fleet.other.kill()
    fleet.other.hold(False)
    fleet.other.up()
    code, events = fleet.told(run)
    assert code == 0
    assert Counter(event["event"] for event in events)["trouble"] >= 1
    assert {event["card"] for event in events if event.get("over")} == cards_of(events)
    fleet.check()


def test_the_head_dies_and_nothing_is_lost(fleet):
    """The other node joins again by itself, as soon as the head is up."""
    fleet.up()
    fleet.other.hold()
    run = fleet.run()
    until(lambda: fleet.head.visits() and running(fleet.other), WAIT_S)
    fleet.head.kill()
    until(lambda: not running(fleet.other), WAIT_S, 0.2)
    run.kill()
    run.communicate()
    fleet.other.hold(False)
    fleet.head.up()
    code, _ = fleet.told(fleet.run())
    assert code == 0
    fleet.check()
    cells = (fleet.folder / "out" / "cells.csv").read_text("utf-8")
    assert cells.count("measured") == 4
    assert fleet.other.process.poll() is None


@pytest.mark.parametrize("who", ["elm", "oak"])
def test_a_raylet_that_stands_still_is_waited_for(fleet, who):
    """As on a machine that is busy measuring; Ray by itself takes it for dead."""
    fleet.up()
    fleet.other.hold()
    run = fleet.run()
    until(lambda: running(fleet.other), WAIT_S)
    raylet = raylet_of(fleet.other if who == "elm" else fleet.head)
    raylet.suspend()
    time.sleep(BEYOND_RAYS_OWN_S)
    raylet.resume()
    fleet.other.hold(False)
    code, events = fleet.told(run)
    assert code == 0
    assert not {"trouble", "back"} & {event["event"] for event in events}
    fleet.check()


def test_a_node_that_was_taken_for_dead_joins_again_by_itself(fleet):
    quick = {"period_ms": "1000", "timeout_ms": "1000", "failure_threshold": "3"}
    for node in (fleet.head, fleet.other):
        node.environment |= {f"RAY_health_check_{name}": text for name, text in quick.items()}
    fleet.up()
    fleet.other.hold()
    run = fleet.run()
    until(lambda: running(fleet.other), WAIT_S)
    raylet = raylet_of(fleet.other)
    raylet.send_signal(signal.SIGSTOP)
    time.sleep(30)
    raylet.send_signal(signal.SIGCONT)
    until(lambda: "the node is back" in fleet.other.said(), WAIT_S, 0.1)
    fleet.other.hold(False)
    code, events = fleet.told(run)
    assert code == 0
    assert {"trouble", "back"} <= {event["event"] for event in events}
    fleet.check()
    assert raylet.pid not in {process.pid for process in marked(fleet.other.mark)}


def raylet_of(node):
    [raylet] = [process for process in marked(node.mark) if process.name() == "raylet"]
    return raylet
