"""SIGKILL at random moments: nobody is left, no limit stays, and no finished run is lost."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from wattbench.hosts.remote.server import find_comfyui
from wattbench.measure.power_limit.guarded import GuardedLimit
from wattbench.measure.protocol.journal import read
from wattbench.report import read_runs

from ..hosts.remote.test_server import command_of
from ..measure.power_limit.test_guarded import seen_here
from ..processes.test_children import FAMILY, HOLD
from ..real_batch import pack, workflow
from ..waiting import until

__all__ = ["pack", "workflow"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

MARK = "WATTBENCH_TEST_FAMILY"
DICE = random.Random(13)


def marked(mark):
    """Processes that live and whose environment has the mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill_some(processes, everyone=False):
    """One of them, or all, as the dice say."""
    for process in processes if everyone else DICE.sample(processes, min(1, len(processes))):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def test_killed_commands_and_supervisors_leave_nobody(tmp_path, soaks, figures):
    """At a random moment from the first instruction on, one of those who stand above a child."""
    script = tmp_path / "family.py"
    kills = 40 if soaks else 4
    longest_s = 0.0
    for number in range(kills):
        mark = uuid.uuid4().hex
        script.write_text(FAMILY.replace("PIDS", str(tmp_path / mark)), "utf-8")
        parent = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(script)], env={**os.environ, MARK: mark}
        )
        time.sleep(DICE.uniform(0, 2.5))
        family = marked(mark)
        supervisors = [p for p in family if "supervisor.py" in command_of(p)]
        began_s = time.monotonic()
        if number % 2 and supervisors:
            kill_some(supervisors)
        parent.kill()
        parent.wait()
        until(lambda mark=mark: not marked(mark), 120, 0.05)
        longest_s = max(longest_s, time.monotonic() - began_s)
    figures(kills=kills, orphans=0, longest_s=longest_s)


SWEEP = """
import itertools, time
from wattbench.measure.power_limit.guarded import GuardedLimit
with GuardedLimit("auto") as limit:
    for watts in itertools.cycle((200, 150, 250)):
        limit.set_w(watts)
        time.sleep(0.02)
"""


def test_no_kill_of_guardian_or_command_loses_the_former_limit(
    limited_board, monkeypatch, soaks, figures
):
    board = seen_here(limited_board(), monkeypatch)
    kills, at_once = (40 if soaks else 4), 0
    for number in range(kills):
        mark = uuid.uuid4().hex
        sweep = subprocess.Popen(
            [sys.executable, "-c", SWEEP],
            env={**os.environ, MARK: mark},
            stderr=subprocess.DEVNULL,
        )
        if DICE.random() < 0.7:
            until(lambda board=board: board.limits_w()[-1:] not in ([], [350.0]), 120)
        time.sleep(DICE.uniform(0, 0.5))
        family = marked(mark)
        if number % 3 == 2:
            at_once += 1
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGSTOP)
        kill_some(family, everyone=number % 3 == 2)
        sweep.kill()
        sweep.wait()
        until(lambda mark=mark: not marked(mark), 120, 0.05)
        with GuardedLimit("auto") as limit:
            assert limit.board.former_w == 350
            assert limit.read_w() == 350
        assert board.limits_w()[-1] == 350
    figures(kills=kills, both_at_once=at_once, limits_lost=0)


PHASES = {
    "starts": lambda seen: True,
    "ComfyUI starts": lambda seen: seen.server is not None,
    "first runs": lambda seen: seen.runs() > 0,
    "second block": lambda seen: seen.runs() > REPEATS,
    "last runs": lambda seen: seen.runs() > BLOCKS * REPEATS - 1,
}
"""When a batch is in each of its phases; the kill comes a random moment later."""

VICTIMS = (
    "command",
    "server",
    "guardian",
    "supervisor",
    "comfy-cli",
    "command and guardian",
    "all",
)
REPEATS, BLOCKS = 2, 4


class Batch:
    """A real ``powercap`` of the tiny model, and what can be seen of it from outside."""

    def __init__(self, pack, line, log):
        self.mark, self.pack = uuid.uuid4().hex, pack
        self.runs_before = self.runs_in_journal()
        code = (
            "import sys\nfrom pathlib import Path\nfrom wattbench import cli\n"
            "from wattbench.hosts.remote import server\n"
            f"server.PACK_ROOT = Path({str(pack)!r})\nsys.exit(cli.main(sys.argv[1:]))\n"
        )
        self.command = subprocess.Popen(
            [sys.executable, "-c", code, *line],
            env={**os.environ, MARK: self.mark},
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    @property
    def journal(self):
        return self.pack / ".comfyui" / "base" / "output" / "wattbench" / "journal.jsonl"

    def contents(self):
        return read(self.journal.read_bytes() if self.journal.exists() else b"")

    def runs_in_journal(self):
        return len(self.contents().runs)

    def runs(self):
        return self.runs_in_journal() - self.runs_before

    @property
    def server(self):
        return next((p for p in marked(self.mark) if "main.py" in command_of(p)), None)

    def victims(self, name):
        """The processes that a name stands for; the command where there is none of them now."""
        family = marked(self.mark)
        if name == "all":
            return family
        command = [p for p in family if p.pid == self.command.pid]
        shown = {
            "server": lambda line: "main.py" in line and "supervisor.py" not in line,
            "guardian": lambda line: "power_limit.guardian" in line,
            "supervisor": lambda line: "supervisor.py" in line,
            "comfy-cli": lambda line: "comfy_cli" in line,
        }
        part = name.removeprefix("command and ")
        chosen = [p for p in family if part in shown and shown[part](command_of(p))]
        return chosen + command if part != name else chosen or command


@pytest.mark.soak("minutes; test_powercap.py kills a few")
def test_killed_batches_leave_nobody_no_cap_and_lose_no_run(
    tmp_path, pack, workflow, limited_board, monkeypatch, figures
):
    """A real ComfyUI that measures under caps; each phase meets each of its processes' deaths."""
    board = seen_here(limited_board(), monkeypatch)
    kills = int(os.environ.get("WATTBENCH_SOAK_BATCHES", "40"))
    line = ["powercap", str(workflow), "--out", str(tmp_path / "out"), "--device", "cpu"]
    line += ["--comfyui", str(find_comfyui()), "--watts", "150,200", "--settle", "0.1"]
    kept, tabled, ended, slowest_s, restored_by_next = set(), set(), 0, 0.0, 0
    for number in range(kills):
        phase, name = list(PHASES)[number % len(PHASES)], VICTIMS[number % len(VICTIMS)]
        with (tmp_path / f"log{number}").open("wb") as log:
            batch = Batch(pack, line, log)
        until(lambda b=batch, p=phase: PHASES[p](b) or b.command.poll() is not None, 600, 0.02)
        time.sleep(DICE.uniform(0, 2))
        ended += batch.command.poll() is not None
        finished = {run.run_id for run in batch.contents().runs}
        victims = batch.victims(name)
        for process in victims if len(victims) > 1 else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        kill_some(victims, everyone=True)
        began_s = time.monotonic()
        until(lambda b=batch: b.command.poll() is not None, 600, 0.02)
        until(lambda b=batch: not marked(b.mark), 120, 0.05)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        contents = batch.contents()
        assert finished | kept <= {run.run_id for run in contents.runs}
        assert len(contents.left_out) <= number + 1
        kept = {run.run_id for run in contents.runs}
        restored_by_next += board.limits_w()[-1:] not in ([], [350.0])
        with GuardedLimit("auto") as limit:
            assert limit.board.former_w == 350
            assert limit.read_w() == 350
        table = tmp_path / "out" / "runs.csv"
        now = set(read_runs(table)["run_id"]) if table.exists() else set()
        assert tabled <= now <= kept
        tabled = now
        print(
            f"{number}: {phase}, {name}: {len(kept)} runs in the journal, {len(now)} in the table"
        )
    with (tmp_path / "last").open("wb") as log:
        last = Batch(pack, line, log)
    assert last.command.wait(600) == 0, (tmp_path / "last").read_text("utf-8")
    assert last.runs() == BLOCKS * REPEATS
    assert board.limits_w()[-1] == 350
    assert len(read_runs(table)) == len(tabled) + BLOCKS * REPEATS
    figures(
        kills=kills,
        after_the_end=ended,
        finished_runs_kept=len(kept),
        lines_cut=len(contents.left_out),
        orphans=0,
        gone_after_s=slowest_s,
        limits_lost=0,
        limits_restored_by_the_next_start=restored_by_next,
    )
