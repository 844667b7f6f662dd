import contextlib
import importlib.util
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from wattbench.fleet.cards import Card, Machine, this_machine
from wattbench.fleet.coordinator import Coordinator
from wattbench.fleet.parcel import pack
from wattbench.fleet.places import Here
from wattbench.fleet.store import Store
from wattbench.fleet.worker import HOME_VARIABLE, WORKFLOWS, work
from wattbench.processes.children import script_command

from . import made_matrix

PLAN = """
name = "small"
seed = 4
[[workload]]
name = "moth"
workflow = "moth.json"
[axes]
attention = ["as_is", "sdpa"]
[run]
warmup = 0
repeats = 1
[stop]
blocks_min = 2
blocks_max = 2
"""
MADE = script_command(Path(__file__).with_name("made_matrix.py"), python=Path(sys.executable))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def in_process(monkeypatch):
    """The made matrix runs in this process, without a page: what is tested is around it."""
    lock = threading.Lock()

    def run(command, environment):
        told = io.StringIO()
        with lock, contextlib.redirect_stdout(told):
            code = made_matrix.main(command[len(MADE) :], environment["CUDA_VISIBLE_DEVICES"])
        return subprocess.CompletedProcess(command, code, told.getvalue(), "")

    monkeypatch.setattr("wattbench.fleet.worker.run", run)
    monkeypatch.setattr("wattbench.study.matrix_results.write_page", lambda folder: "no page")


@pytest.fixture
def planned(tmp_path):
    """A plan and its parcel; ``fleet`` is what is added to the plan."""

    def read(fleet="", text=PLAN):
        folder = tmp_path / "plans"
        folder.mkdir(exist_ok=True)
        (folder / "moth.json").write_text("{}", "utf-8")
        path = folder / "small.toml"
        path.write_text(text + fleet, "utf-8")
        return pack(path, WORKFLOWS)

    return read


def machine(host, *cards, **changes):
    """A machine with this WattBench; ``cards`` are UUIDs."""
    own = this_machine()
    there = tuple(Card(host, f"Made {uuid}", uuid, "580.65") for uuid in cards)
    return Machine(host, there, **{"pack": own.pack, "git_commit": own.git_commit, **changes})


class MadePlaces(Here):
    """Machines that are made up; a matrix runs for real, on a rig without servers.

    ``sent`` are the assignments, ``most`` how many ran at once on each host.
    """

    def __init__(self, machines, do=lambda assignment: work(assignment, MADE)):
        super().__init__(self._counted)
        self.there, self.real, self.sent = dict(machines), do, []
        self.mute = ()
        self.most, self.now, self.lock = {}, {}, threading.Lock()

    def machines(self):
        return dict(self.there)

    def silent(self):
        return self.mute

    def _counted(self, assignment):
        host = assignment.card.host
        with self.lock:
            self.sent.append(assignment)
            self.now[host] = self.now.get(host, 0) + 1
            self.most[host] = max(self.most.get(host, 0), self.now[host])
        try:
            return self.real(assignment)
        finally:
            with self.lock:
                self.now[host] -= 1


@pytest.fixture
def coordinate(tmp_path, planned):
    """Make a coordinator, not run yet, of a plan on places."""

    def make(places, fleet="", folder="out", text=PLAN, **more):
        plan, parcel = planned(fleet, text)
        out = tmp_path / folder
        out.mkdir(exist_ok=True)
        store = Store.at(out, parcel, resume=True)
        told = []
        given = {"patience_s": 0.0, "tell": told.append, **more}
        made = Coordinator(plan, parcel, places, store, this_machine(), **given)
        made.told = told
        return made

    return make


@pytest.fixture
def fleet_of(tmp_path, nvml_library):
    """A function that makes two real nodes of Ray, not up yet; ``uuids`` are the head's cards."""
    if os.name == "nt":
        pytest.skip("Ray's nodes on Windows are not tried")
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    from .ray_fleet import Fleet

    with contextlib.ExitStack() as stack:

        def make(uuids=()):
            made = Fleet(tmp_path, nvml_library, uuids)
            stack.callback(made.end)
            return made

        yield make


@pytest.fixture
def fleet(fleet_of):
    """Two real nodes of Ray, not up yet, each with a card."""
    return fleet_of()
