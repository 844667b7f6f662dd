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

from wattbench.hosts.remote import server as server_module
from wattbench.hosts.remote.server import find_comfyui
from wattbench.measure.power_limit.guarded import GuardedLimit
from wattbench.measure.protocol.journal import read

from ..hosts.remote.test_server import command_of
from ..measure.power_limit.test_guarded import seen_here
from ..processes.test_children import FAMILY, HOLD
from ..waiting import until

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


def test_killed_batches_leave_no_server_and_lose_no_run(
    tmp_path, write_workflow, soaks, figures, monkeypatch
):
    """A real ComfyUI, killed as the command, the supervisor or the server, at any phase."""
    if not soaks:
        pytest.skip("minutes; test_server.py kills one: `python tasks.py soak`")
    workflow = write_workflow(repeats=20, seed=3, then="succeed")
    kills, kept, phases = int(os.environ.get("WATTBENCH_SOAK_BATCHES", "40")), 0, []
    for number in range(kills):
        mark, folder = uuid.uuid4().hex, tmp_path / f"{number}"
        folder.mkdir()
        code = (
            "import sys, shutil\nfrom pathlib import Path\nfrom wattbench import cli\n"
            "from wattbench.hosts.remote import server\n"
            f"server.PACK_ROOT = Path({str(folder / 'pack')!r})\n"
            "sys.exit(cli.main(sys.argv[1:]))\n"
        )
        pack = folder / "pack"
        pack.symlink_to(server_module.PACK_ROOT / "tests" / "data" / "journal_pack")
        line = ["run", str(workflow), "--out", str(folder / "out"), "--device", "cpu"]
        line += ["--comfyui", str(find_comfyui())]
        log = (folder / "log").open("wb")
        command = subprocess.Popen(
            [sys.executable, "-c", code, *line],
            env={**os.environ, MARK: mark},
            stdout=log,
            stderr=log,
        )
        deadline_s = time.monotonic() + DICE.uniform(0, 45)
        while time.monotonic() < deadline_s and command.poll() is None:
            time.sleep(0.1)
        family = marked(mark)
        ours = [p for p in family if p.pid != command.pid]
        phases.append(len(family))
        if number % 3 and ours:
            kill_some(ours)
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(60)
        command.kill()
        command.wait()
        log.close()
        until(lambda mark=mark: not marked(mark), 120, 0.1)
        for journal in folder.rglob("journal.jsonl"):
            contents = read(journal.read_bytes())
            whole = journal.read_bytes().count(b"\n")
            assert len(contents.runs) >= whole - len(contents.left_out)
            kept += len(contents.runs)
    figures(kills=kills, orphans=0, finished_runs_kept=kept, family_sizes=sorted(set(phases)))
