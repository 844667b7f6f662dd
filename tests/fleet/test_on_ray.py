"""Real nodes of Ray on this machine, each with a card of a simulated NVML; who dies, and who lives.

Each node is a `wattbench fleet up` of its own, with a name and a home of its own. What a matrix
measures is made up, but for that it is a real child of a real worker of Ray.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

import psutil
import pytest

from wattbench.fleet.cards import HOST_VARIABLE
from wattbench.fleet.ray_nodes import UP_FILE
from wattbench.fleet.store import CARDS
from wattbench.fleet.worker import HOME_VARIABLE
from wattbench.study.visits import JOURNAL, read_visits

from ..faults.test_kills import MARK, marked
from ..hosts.remote.test_server import command_of
from ..waiting import until
from .conftest import PLAN
from .made_matrix import HOLD

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="Ray's nodes on Windows are not tried"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]

WAIT_S = 900
BLOCKS = 2


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Node:
    """A `wattbench fleet up`."""

    def __init__(self, folder, name, library, more):
        self.home, self.name = folder / name, name
        self.home.mkdir()
        self.mark = uuid.uuid4().hex
        script = self.home / "nvml.script"
        script.write_text(f"gpu\nuuid GPU-{name}\npci 0:41:0\nname Made {name}\n", "utf-8")
        self.environment = {
            **os.environ,
            MARK: self.mark,
            HOME_VARIABLE: str(self.home),
            HOLD: str(self.home / "hold"),
            "LD_LIBRARY_PATH": str(library),
            "FAKE_NVML_SCRIPT": str(script),
        }
        self.environment.pop(HOST_VARIABLE, None)
        self.more, self.process = more, None

    def up(self):
        command = [sys.executable, "-m", "wattbench", "fleet", "up", "--name", self.name]
        log = self.home / "up.log"
        with log.open("wb") as told:
            self.process = subprocess.Popen(
                [*command, *self.more], env=self.environment, stdout=told, stderr=told
            )
        until(lambda: self._is_up(log), WAIT_S, 0.1)

    def _is_up(self, log):
        text = log.read_text("utf-8")
        assert self.process.poll() is None, text + (self.home / "ray.log").read_text("utf-8")
        return "end it by Ctrl-C" in text

    def all(self, word):
        """Its processes with a word in their commands."""
        return [p for p in marked(self.mark) if word in command_of(p)]

    def hold(self, is_held=True):
        """Make its matrix wait before each image, or go on."""
        path = Path(self.environment[HOLD])
        path.touch() if is_held else path.unlink()

    def kill(self):
        """SIGKILL of `up`; returns once nobody of it is left."""
        up = self.home / UP_FILE
        folder = json.loads(up.read_text("utf-8"))["folder"] if up.exists() else None
        self.process.kill()
        self.process.wait()
        until(lambda: not marked(self.mark), WAIT_S, 0.1)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def visits(self):
        """What its own journal holds."""
        found = list(self.home.glob(f"studies/*/*/results/{JOURNAL}"))
        return read_visits(found[0]).made if found else []


class Fleet:
    """A head, a node that joins it, and a coordinator."""

    def __init__(self, folder, library):
        self.folder = folder
        port = free_port()
        self.head = Node(folder, "oak", library, ["--port", str(port)])
        token = str(self.head.home / "token")
        joins = ["--join", f"127.0.0.1:{port}", "--token", token]
        self.other = Node(folder, "elm", library, joins)
        self.port, self.runs = port, []

    def up(self):
        self.head.up()
        self.other.up()

    def run(self, fleet="", wait_s=WAIT_S, out="out"):
        (self.folder / "moth.json").write_text("{}", "utf-8")
        plan = self.folder / "small.toml"
        plan.write_text(PLAN + fleet, "utf-8")
        command = [sys.executable, str(Path(__file__).with_name("run_on_ray.py")), str(plan)]
        command += ["--out", str(self.folder / out), "--wait", str(wait_s), "--resume", "--json"]
        process = subprocess.Popen(
            command,
            env=self.head.environment | {MARK: "coordinator"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.runs.append(process)
        return process

    def told(self, process):
        """Its exit code and its events."""
        out, err = process.communicate(timeout=WAIT_S)
        events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        assert events, err
        return process.returncode, events

    def command(self, node, action):
        """What `wattbench fleet ACTION` prints there."""
        command = [sys.executable, "-m", "wattbench", "fleet", action]
        environment = node.environment | {MARK: "command"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def check(self):
        """Every visit once, on the node of its card and in what was pulled."""
        planned = {(f"moth: attention={a}", b) for a in ("as_is", "sdpa") for b in range(BLOCKS)}
        folders = list((self.folder / "out" / CARDS).iterdir())
        assert len(folders) == 2
        for node in (self.head, self.other):
            own = Counter((visit.cell, visit.block) for visit in node.visits())
            assert own == Counter(planned)
            uuids = {r.environment.gpu_uuid for visit in node.visits() for r in visit.runs}
            assert uuids == {f"GPU-{node.name}"}
        for folder in folders:
            pulled = Counter((v.cell, v.block) for v in read_visits(folder / JOURNAL).made)
            assert pulled == Counter(planned)

    def end(self):
        for process in self.runs:
            if process.poll() is None:
                process.kill()
                process.communicate()
        for node in (self.other, self.head):
            if node.process is not None:
                node.kill()


@pytest.fixture
def fleet(tmp_path, nvml_library):
    made = Fleet(tmp_path, nvml_library)
    yield made
    made.end()


def test_a_plan_on_two_nodes_outlives_the_death_of_a_worker_a_node_and_the_head(fleet):
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
    code, events = fleet.told(fleet.run('[fleet]\ncards = [{ gpu = "H200" }]\n', 0, "none"))
    assert code == 1
    assert "no card has gpu = H200; there are: Made" in events[0]["reason"]

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
    kinds = Counter(event["event"] for event in events)
    assert code == 0
    assert kinds["trouble"] >= 1
    assert {event["card"] for event in events if event.get("over")} == cards_of(events)
    fleet.check()

    told = fleet.command(fleet.head, "status")
    assert "oak: WattBench" in told
    assert "  Made elm, driver" in told
    assert "machines measure nothing now" in told
    assert "the node has ended" in fleet.command(fleet.other, "down")
    fleet.other.process.wait(WAIT_S)
    until(lambda: not marked(fleet.other.mark), WAIT_S, 0.1)


def test_the_head_dies_and_nothing_is_lost(fleet):
    fleet.up()
    fleet.other.hold()
    run = fleet.run()
    until(lambda: fleet.head.visits() and running(fleet.other), WAIT_S)
    fleet.head.kill()
    until(lambda: not running(fleet.other), WAIT_S, 0.2)
    run.kill()
    run.communicate()
    fleet.other.kill()
    fleet.other.hold(False)
    fleet.up()
    code, _ = fleet.told(fleet.run())
    assert code == 0
    fleet.check()
    cells = (fleet.folder / "out" / "cells.csv").read_text("utf-8")
    assert cells.count("measured") == 4


def running(node):
    """The processes of its matrix."""
    return [p for p in node.all("made_matrix.py") if "bootstrap.py" in command_of(p)]


def cards_of(events):
    return {event["card"] for event in events if event["event"] == "card"}


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
