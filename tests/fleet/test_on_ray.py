"""Two real nodes of Ray carry a plan out; who dies, and who lives, is in test_deaths.py."""

import contextlib
import subprocess
import sys

import psutil
import pytest

from wattbench.fleet.worker import HOME_VARIABLE
from wattbench.report import read_runs

from ..faults.test_kills import marked
from ..waiting import until
from .ray_fleet import WAIT_S, cards_of, running


def test_two_nodes_listen_to_this_machine_alone_and_carry_a_plan_out(fleet):
    fleet.up()
    for node in (fleet.head, fleet.other):
        listening = {
            connection.laddr.ip.removeprefix("::ffff:")
            for process in marked(node.mark)
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
    assert stranger(fleet) != 0
    wanted = '[fleet]\ncards = [{ host = "oak" }, { host = "elm" }, { gpu = "H200" }]\n'
    code, events = fleet.told(fleet.run(wanted, 0))
    assert code == 1
    [said] = [event for event in events if event["event"] == "unplaceable"]
    assert "no card has gpu = H200; there are: Made" in said["reason"]
    assert {event["card"] for event in events if event.get("over")} == cards_of(events)
    fleet.check()

    told = fleet.command(fleet.head, "status")
    assert "oak: WattBench" in told
    assert "  Made elm, driver" in told
    assert "machines measure nothing now" in told
    assert "the node has ended" in fleet.command(fleet.other, "down")
    fleet.other.process.wait(WAIT_S)
    until(lambda: not marked(fleet.other.mark), WAIT_S, 0.1)


def test_two_cards_of_one_machine_measure_at_once(fleet_of):
    """Both are flagged, each in a process that sees its own card alone."""
    fleet = fleet_of(["GPU-fast", "GPU-slow"])
    fleet.head.up()
    fleet.head.hold()
    run = fleet.run('[fleet]\ntogether = true\ncards = [{ host = "oak" }]\n', 0)
    both = until(lambda: len(found := running(fleet.head)) == 2 and found, WAIT_S)
    seen = {process.environ()["CUDA_VISIBLE_DEVICES"] for process in both}
    assert seen == {"GPU-fast", "GPU-slow"}
    assert len({process.cmdline()[process.cmdline().index("--out") + 1] for process in both}) == 2
    fleet.head.hold(False)
    code, events = fleet.told(run)
    assert code == 0, events
    table = read_runs(fleet.folder / "out" / "runs.csv")
    assert set(table["gpu_uuid"]) == seen
    flags = table.groupby("gpu_uuid")["flags"].unique()
    for uuid, other in (("GPU-fast", "slow"), ("GPU-slow", "fast")):
        [flag] = flags[uuid]
        assert f"measured together with Made {other} of oak" in flag
        assert "they share power, heat and host" in flag


@pytest.mark.soak("a minute; test_fleet.py has a block that nobody begins, without Ray")
def test_a_machine_that_something_else_has_taken_is_given_up(fleet):
    fleet.head.up()
    fleet.head.hold()
    first = fleet.run()
    until(lambda: running(fleet.head), WAIT_S)
    wanted = '[fleet]\ncards = [{ host = "oak" }]\n'
    code, events = fleet.told(fleet.run(wanted, 0, "second", WATTBENCH_TEST_BEGIN_S="5"))
    assert code == 1
    assert "was not begun within" in events[-2]["reason"]
    assert (fleet.folder / "second" / "cells.csv").read_text("utf-8").count("not done") == 2
    assert len(running(fleet.head)) == 1
    assert first.poll() is None


def stranger(fleet):
    """The exit code of who has another token; nobody answers them."""
    home = fleet.folder / "stranger"
    home.mkdir()
    (home / "token").write_text("0" * 64, "ascii")
    (home / "up.json").write_bytes((fleet.head.home / "up.json").read_bytes())
    environment = {**fleet.head.environment, HOME_VARIABLE: str(home)}
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(
            [sys.executable, "-m", "wattbench", "fleet", "status"],
            env=environment,
            capture_output=True,
            timeout=120,
        ).returncode
    return -1
