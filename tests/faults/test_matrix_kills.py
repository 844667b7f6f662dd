"""SIGKILL of a matrix and of its servers: each planned visit is made once, and nobody is left."""

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections import Counter

import pandas as pd
import pytest

from wattbench.cli.matrix import WORKFLOWS
from wattbench.hosts.remote.server import find_comfyui
from wattbench.study.plan import read_plan
from wattbench.study.visits import JOURNAL

from ..hosts.remote.test_server import command_of
from ..servers import ON_CPU
from ..waiting import until
from .test_kills import MARK, marked

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

DICE = random.Random(16)
WAIT_S = 900
PLAN = """
name = "kills"
seed = 2
[[workload]]
workflow = "quickstart"
[axes]
size = [64]
steps = [1]
attention = ATTENTION
[run]
isolation = "ISOLATION"
warmup = 0
repeats = 1
[stop]
blocks_min = BLOCKS
blocks_max = BLOCKS
"""


class Killed:
    """A matrix that is begun, killed and begun again."""

    def __init__(self, folder, attention, isolation, blocks):
        self.mark, self.out = uuid.uuid4().hex, folder / "out"
        text = PLAN.replace("ATTENTION", json.dumps(attention)).replace("ISOLATION", isolation)
        self.plan = folder / "plan.toml"
        self.plan.write_text(text.replace("BLOCKS", str(blocks)), "utf-8")
        self.blocks, self.process = blocks, None

    def begin(self):
        command = [sys.executable, "-m", "wattbench", "matrix", self.plan, "--out", self.out]
        command += ["--resume", "--device", "cpu", "--estimate-if-unmetered"]
        command += ["--comfyui", find_comfyui(), "--", *ON_CPU]
        with (self.out.parent / "told.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                env={**os.environ, MARK: self.mark},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def visits(self):
        path = self.out / JOURNAL
        lines = path.read_bytes().split(b"\n")[1:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def kill_server(self):
        """Whether there was one."""
        servers = [p for p in marked(self.mark) if "main.py" in command_of(p)]
        for process in servers:
            process.kill()
        return bool(servers)

    def kill_runner(self):
        self.process.kill()
        self.process.wait()
        until(lambda: not marked(self.mark), WAIT_S, 0.05)

    def finish(self):
        code = self.process.wait(WAIT_S)
        assert code == 0, (self.out.parent / "told.log").read_text("utf-8")[-3000:]

    def check(self):
        """The tables are those of the plan, as an undisturbed matrix has them."""
        cells = [cell.name for cell in read_plan(self.plan, WORKFLOWS).cells()]
        planned = [(cell, block + 1) for cell in cells for block in range(self.blocks)]
        made = Counter((visit["cell"], visit["block"] + 1) for visit in self.visits())
        assert made == Counter(planned)
        runs = pd.read_csv(self.out / "runs.csv", keep_default_na=False)
        rows = list(zip(runs["cell"], runs["visit"], runs["seed"], runs["error"], strict=True))
        assert rows == [(*place, 0, "") for place in planned]
        assert runs["run_id"].is_unique
        summary = pd.read_csv(self.out / "summary.csv")
        assert summary["n"].tolist() == [self.blocks] * len(cells)
        assert not marked(self.mark)


@pytest.fixture
def killed(tmp_path):
    made = []

    def make(*arguments):
        made.append(Killed(tmp_path, *arguments))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.process.kill()


def test_a_killed_matrix_goes_on_where_its_journal_ends(killed):
    matrix = killed(["as_is", "sdpa_math"], "block", 1)
    matrix.begin()
    until(lambda: len(matrix.visits()) == 1, WAIT_S, 0.02)
    matrix.kill_runner()
    assert len(matrix.visits()) == 1
    matrix.begin()
    matrix.finish()
    matrix.check()


@pytest.mark.soak("a minute more; test_run.py and test_powercap.py kill servers")
def test_a_killed_server_and_a_killed_matrix_lose_no_visit(killed):
    matrix = killed(["as_is", "sdpa", "sdpa_math"], "block", 1)
    matrix.begin()
    until(lambda: len(matrix.visits()) == 1, WAIT_S, 0.02)
    assert matrix.kill_server()
    until(lambda: len(matrix.visits()) == 2, WAIT_S, 0.02)
    matrix.kill_runner()
    assert len(matrix.visits()) == 2
    matrix.begin()
    matrix.finish()
    matrix.check()


@pytest.mark.soak("a quarter of an hour and more")
def test_twelve_kills_at_random_lose_no_visit(killed, figures):
    matrix, targets, spared = killed(["as_is", "sdpa_math"], "process", 4), Counter(), -1
    matrix.begin()
    while targets.total() < 12 and len(matrix.visits()) < 8:
        time.sleep(DICE.uniform(1, 30))
        at = len(matrix.visits())
        # A visit has two servers: a third death of one and the same would rightly cost its cell.
        if DICE.random() < 0.5 and at != spared and matrix.kill_server():
            targets["server"] += 1
            spared = at
        elif matrix.process.poll() is None:
            matrix.kill_runner()
            targets["runner"] += 1
            spared = -1
            matrix.begin()
        elif len(matrix.visits()) < 8:
            matrix.begin()  # Two servers in a row died before anything was planned.
    matrix.finish()
    matrix.check()
    figures(kills=dict(targets), visits=len(matrix.visits()), lost=0, made_twice=0)
