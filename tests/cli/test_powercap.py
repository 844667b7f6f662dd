"""The power-cap sweep: a real ComfyUI on the CPU, metered by a simulated board with a limit."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys

import pandas as pd
import psutil
import pytest

from wattbench import cli
from wattbench.cli import powercap
from wattbench.errors import CommandError
from wattbench.hosts.remote import server as server_module
from wattbench.hosts.remote.server import find_comfyui
from wattbench.measure.power_limit import LimitRange
from wattbench.measure.power_limit.guarded import GuardedBoard
from wattbench.measure.recording.runs import new_run
from wattbench.records import Condition, Environment

from ..real_batch import pack, workflow
from ..waiting import until

__all__ = ["pack", "workflow"]

posix_only = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.fixture
def line(workflow, tmp_path):
    """The command line of a sweep, without its caps."""
    options = ["--device", "cpu", "--comfyui", str(find_comfyui())]
    return ["powercap", str(workflow), "--out", str(tmp_path / "out"), *options]


@pytest.fixture
def board(limited_board, monkeypatch):
    """A board of 350 W, shown to the processes that the command starts."""
    board = limited_board()
    for name, value in board.environment.items():
        monkeypatch.setenv(name, value)
    return board


def test_sweep_gives_energy_and_time_for_each_cap(board, line, pack, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(server_module, "PACK_ROOT", pack)
    assert cli.main([*line, "--watts", "100,200", "--settle", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert board.limits_w() == [350, 100, 200, 350]
    assert "the power limit of nvml:0 is 350 W again" in printed

    caps = pd.read_csv(tmp_path / "out" / "powercap.csv")
    least_w = caps.loc[caps["j_per_img_mean"].idxmin(), "cap_w"]
    verdict = "No cap took less" if least_w == 350 else f"{least_w:g} W took the least"
    assert verdict in printed
    assert list(caps["cap_w"]) == [350, 200, 100]
    assert list(caps["is_baseline"]) == [True, False, False]
    assert list(caps["j_per_img_n"]) == [4, 2, 2]
    assert caps["ratio_confidence"].iloc[1] == 0.975
    # The board wants 300 W, and draws what its limit leaves of them. The runs are short: where the
    # machine holds the sampler up, their powers are less exact.
    assert caps["mean_power_w"].to_numpy() == pytest.approx([300, 200, 100], rel=0.4)

    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert list(runs["power_limit_w"]) == [350, 350, 100, 100, 200, 200, 350, 350]
    assert list(runs["seed"]) == [0, 1] * 4
    assert list(pd.read_csv(tmp_path / "out" / "summary.csv")["n"]) == [4, 2, 2]
    report = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert report.index("## Power caps: synthetic sdxl tiny") < report.index("## All runs")
    assert (tmp_path / "out" / "powercap.svg").read_text("utf-8").startswith("<?xml")
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 8


@pytest.fixture
def sweep_at_150_w(board, line, pack):
    """A sweep in a process of its own that has just gone from 350 W to 150 W; its children.

    It settles for so long that a test that is held up still finds it there.
    """
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from wattbench import cli\n"
        "from wattbench.hosts.remote import server\n"
        f"server.PACK_ROOT = Path({str(pack)!r})\n"
        f"sys.exit(cli.main({[*line, '--watts', '150', '--settle', '2']!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    until(lambda: board.limits_w()[-1:] == [150], 300)
    family = psutil.Process(process.pid).children(recursive=True)
    yield process, family
    process.kill()
    process.communicate()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
            member.wait()


def server_of(family):
    [server] = [member for member in family if "main.py" in " ".join(member.cmdline())]
    return server


@posix_only
def test_killed_command_leaves_the_limit_as_it_was_and_no_server(sweep_at_150_w, board):
    process, family = sweep_at_150_w
    server = server_of(family)  # before the guardian has gone, which is one of the family
    process.kill()
    until(lambda: board.limits_w() == [350, 150, 350])
    server.wait(60)


@posix_only
def test_killed_server_ends_the_sweep_and_what_was_measured_is_kept(
    sweep_at_150_w, board, tmp_path
):
    process, family = sweep_at_150_w
    server_of(family).send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert err.startswith("wattbench powercap: ")
    assert "Traceback" not in err
    assert board.limits_w() == [350, 150, 350]
    assert list(pd.read_csv(tmp_path / "out" / "powercap.csv")["cap_w"]) == [350]


def test_without_rights_nothing_runs(limited_board, line, monkeypatch, capsys, tmp_path):
    board = limited_board("fail -1000 nvmlDeviceSetPowerManagementLimit 4")
    for name, value in board.environment.items():
        monkeypatch.setenv(name, value)
    assert cli.main([*line, "--watts", "150"]) == 1
    assert "administrator" in capsys.readouterr().err
    assert board.limits_w() == []
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left <= {".batch.lock"}


def test_cap_outside_of_the_range_is_refused_before_anything_runs(board, line, capsys):
    assert cli.main([*line, "--watts", "150,600,50"]) == 2
    assert "--watts 600,50: nvml:0 takes caps from 87.5 to 350 W" in capsys.readouterr().err
    assert board.limits_w() == [350]


@pytest.mark.parametrize("text", ["", "150,", "-1", "1.5", "200 W", "0"])
def test_caps_are_whole_watts(line, text, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main([*line, f"--watts={text}"])
    assert "is not whole watts such as 150,200,250" in capsys.readouterr().err


class FixedLimit:
    """What a guarded limit answers, for runs that were made elsewhere."""

    board = GuardedBoard("nvml:0", "Simulated", 350.0, LimitRange(100.0, 350.0, 350.0))

    def read_w(self):
        return 150.0


def run_under(power_limit_w):
    nothing = dict.fromkeys((f.name for f in dataclasses.fields(Environment)), "")
    environment = Environment(**{**nothing, "power_limit_w": power_limit_w})
    condition = Condition(**dict.fromkeys((f.name for f in dataclasses.fields(Condition)), ""))
    return new_run(condition, environment, seed=0, visit=1)


def test_runs_of_another_board_are_an_error():
    powercap.check_held(FixedLimit(), 150.0, [run_under(150.0)])
    for limit_w, seen in ((350.0, "350 W"), (None, "none")):
        with pytest.raises(CommandError, match=f"under a limit of {seen}, not the 150 W of nvml:0"):
            powercap.check_held(FixedLimit(), 150.0, [run_under(limit_w)])


def test_limit_that_somebody_changed_is_an_error():
    with pytest.raises(CommandError, match="another program has changed it"):
        powercap.check_held(FixedLimit(), 200.0, [])
