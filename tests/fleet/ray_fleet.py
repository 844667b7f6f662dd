"""Real nodes of Ray on this machine, each with a card of a simulated NVML.

Each node is a `wattbench fleet up` of its own, with a name and a home of its own. What a matrix
measures is made up, but for that it is a real child of a real worker of Ray.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

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

WAIT_S = 900
MISSING_S = 300
"""How long a coordinator waits for a card that is missing, before it says what it lacked."""

BLOCKS = 2


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Node:
    """A `wattbench fleet up`."""

    def __init__(self, folder, name, library, more, uuids=()):
        self.home, self.name = folder / name, name
        self.home.mkdir()
        self.mark = uuid.uuid4().hex
        script = self.home / "nvml.script"
        boards = enumerate(uuids or [f"GPU-{name}"], 0x41)
        text = "".join(f"gpu\nuuid {u}\npci 0:{n:x}:0\nname Made {u[4:]}\n" for n, u in boards)
        script.write_text(text, "utf-8")
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
        with (self.home / "up.log").open("wb") as told:
            self.process = subprocess.Popen(
                [*command, *self.more], env=self.environment, stdout=told, stderr=told
            )
        until(self._is_up, WAIT_S, 0.1)

    def said(self):
        """What `up` has printed."""
        return (self.home / "up.log").read_text("utf-8")

    def _is_up(self):
        text = self.said()
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

    def __init__(self, folder, library, uuids=()):
        self.folder = folder
        port = free_port()
        self.head = Node(folder, "oak", library, ["--port", str(port)], uuids)
        token = str(self.head.home / "token")
        joins = ["--join", f"127.0.0.1:{port}", "--token", token]
        self.other = Node(folder, "elm", library, joins)
        self.port, self.runs = port, []

    def up(self):
        self.head.up()
        self.other.up()

    def run(self, fleet="", wait_s=MISSING_S, out="out", **more):
        """A coordinator; ``more`` is added to its environment."""
        (self.folder / "moth.json").write_text("{}", "utf-8")
        plan = self.folder / "small.toml"
        plan.write_text(PLAN + fleet, "utf-8")
        command = [sys.executable, str(Path(__file__).with_name("run_on_ray.py")), str(plan)]
        command += ["--out", str(self.folder / out), "--wait", str(wait_s), "--resume", "--json"]
        process = subprocess.Popen(
            command,
            env=self.head.environment | {MARK: "coordinator", **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.runs.append(process)
        return process

    def told(self, process):
        """Its exit code and its events."""
        out, err = process.communicate(timeout=WAIT_S)
        events = [json.loads(line) for line in out.splitlines()]
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


def running(node):
    """The processes of its matrix."""
    return [p for p in node.all("made_matrix.py") if "bootstrap.py" in command_of(p)]


def cards_of(events):
    return {event["card"] for event in events if event["event"] == "card"}
