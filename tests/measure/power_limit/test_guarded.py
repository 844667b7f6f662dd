"""The limit of a simulated board is restored whatever happens to the processes around it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from wattbench.errors import CommandError
from wattbench.measure.power_limit.guarded import GuardedLimit

from ...waiting import until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

HOLD = """
import sys, time
from wattbench.measure.power_limit.guarded import GuardedLimit
from wattbench.processes.signals import cancelling
with cancelling(), GuardedLimit("auto") as limit:
    sys.stdout.write(f"{limit.set_w(200):g}\\n")
    sys.stdout.flush()
    time.sleep(600)
"""


def seen_here(board, monkeypatch):
    """Show the board to this process's children."""
    for name, value in board.environment.items():
        monkeypatch.setenv(name, value)
    return board


@pytest.fixture
def board(limited_board, monkeypatch):
    return seen_here(limited_board(), monkeypatch)


@pytest.fixture
def holder(board):
    """A process that has set the limit to 200 W and holds it."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "200\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def guardian_of(process):
    children = psutil.Process(process.pid).children()
    module = "wattbench.measure.power_limit.guardian"
    [guardian] = [child for child in children if module in child.cmdline()]
    return guardian


def test_limit_is_set_read_back_and_restored(board):
    with GuardedLimit("nvml:0") as limit:
        assert limit.board.former_w == 350
        assert (limit.board.allowed.minimum_w, limit.board.allowed.maximum_w) == (87.5, 350)
        assert limit.set_w(200) == 200
        assert limit.set_w(150) == 150
        assert limit.read_w() == 150
    assert board.limits_w() == [350, 200, 150, 350]


def test_exception_restores(board):
    with pytest.raises(ZeroDivisionError), GuardedLimit("auto") as limit:
        limit.set_w(200)
        raise ZeroDivisionError
    assert board.limits_w() == [350, 200, 350]


def test_refused_limit_is_an_error_and_the_former_one_is_restored(board):
    with (
        pytest.raises(CommandError, match=r"SetPowerManagementLimit of nvml:0 answered: Invalid"),
        GuardedLimit("auto") as limit,
    ):
        limit.set_w(200)
        limit.set_w(1000)
    assert board.limits_w() == [350, 200, 350]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_end_of_the_process_restores(holder, board, number):
    guardian = guardian_of(holder)
    holder.send_signal(number)
    until(lambda: board.limits_w() == [350, 200, 350])
    guardian.wait(60)


def test_ctrl_c_of_the_terminal_does_not_reach_the_guardian(board):
    with GuardedLimit("auto") as limit:
        guardian = guardian_of(psutil.Process())
        assert os.getsid(guardian.pid) == guardian.pid
        guardian.send_signal(signal.SIGINT)
        assert limit.set_w(200) == 200
    assert board.limits_w() == [350, 200, 350]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_guardian_that_is_told_to_end_restores_first(holder, board, number):
    guardian_of(holder).send_signal(number)
    until(lambda: board.limits_w() == [350, 200, 350])


def test_killed_guardian_is_noticed_and_another_one_restores(board):
    with (
        pytest.raises(CommandError, match=r"guardian of .* has ended"),
        GuardedLimit("auto") as limit,
    ):
        limit.set_w(200)
        guardian = guardian_of(psutil.Process())
        guardian.kill()
        guardian.wait()
        limit.set_w(150)
    assert board.limits_w() == [350, 200, 350]


def test_limit_that_cannot_be_restored_is_said_with_what_to_do(limited_board, monkeypatch):
    board = seen_here(limited_board(), monkeypatch)
    with (
        pytest.raises(CommandError, match=r"could not be restored to 350 W.*nvidia-smi -pl"),
        GuardedLimit("auto") as limit,
    ):
        limit.set_w(200)
        with Path(board.environment["FAKE_NVML_SCRIPT"]).open("a", encoding="utf-8") as file:
            file.write("fail -1 nvmlDeviceSetPowerManagementLimit 15\n")
        guardian_of(psutil.Process()).kill()


def test_without_rights_nothing_is_changed_and_the_message_says_what_to_do(
    limited_board, monkeypatch
):
    refusal = "fail -1000 nvmlDeviceSetPowerManagementLimit 4"
    board = seen_here(limited_board(refusal), monkeypatch)
    with (
        pytest.raises(CommandError, match=r"Permission.*--sudo.*Nothing was changed"),
        GuardedLimit("auto"),
    ):
        pytest.fail("the block was entered")
    assert board.limits_w() == []


def test_missing_sudo_is_named(board):
    with (
        pytest.raises(CommandError, match="no-such-sudo cannot be started"),
        GuardedLimit("auto", ("no-such-sudo",)),
    ):
        pytest.fail("the block was entered")
    assert board.limits_w() == []


def test_sudo_that_wants_a_password_is_explained(board):
    """Here the command ``false`` is the sudo that refuses."""
    with (
        pytest.raises(CommandError, match=r"has ended \(code 1\)\. Nothing .* Type `false -v`"),
        GuardedLimit("auto", ("false",)),
    ):
        pytest.fail("the block was entered")
    assert board.limits_w() == []
