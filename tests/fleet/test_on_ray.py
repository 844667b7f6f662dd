"""Two real nodes of Ray carry a plan out; who dies, and who lives, is in test_deaths.py."""

import contextlib
import subprocess
import sys

import psutil

from wattbench.fleet.worker import HOME_VARIABLE

from ..faults.test_kills import marked
from ..waiting import until
from .ray_fleet import WAIT_S, cards_of


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
