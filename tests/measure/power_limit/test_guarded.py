"""The limit of a simulated board is restored whatever happens to the processes around it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from wattbench.cli.powercap import found
from wattbench.errors import CommandError
from wattbench.measure.power_limit import LimitRange, guarded
from wattbench.measure.power_limit.guarded import GuardedBoard, GuardedLimit
from wattbench.measure.power_limit.unrestored import Change, Unrestored, baseline

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


def marked_guardians():
    children = psutil.Process().children()
    module = "wattbench.measure.power_limit.guardian"
    return [child.pid for child in children if child.is_running() and module in child.cmdline()]


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


def test_a_driver_that_never_answers_is_given_up(limited_board, monkeypatch):
    """At the first limit that is asked for; the next guardian's driver does not answer either."""
    seen_here(limited_board("fail -1000 nvmlDeviceSetPowerManagementLimit -1"), monkeypatch)
    monkeypatch.setattr(guarded, "ANSWER_S", 1.0)
    monkeypatch.setattr(guarded, "RESTORE_TIMEOUT_S", 1.0)
    before = marked_guardians()
    with pytest.raises(CommandError, match="did not answer within 1 s"), GuardedLimit("auto"):
        pytest.fail("the block was entered")
    until(lambda: marked_guardians() == before)


def test_a_driver_that_stops_answering_is_given_up(limited_board, monkeypatch):
    """While the limit is changed, and when it is to be restored."""
    directive = f"fail {time.perf_counter() + 1e6} nvmlDeviceSetPowerManagementLimit -1"
    board = seen_here(limited_board(directive), monkeypatch)
    script = Path(board.environment["FAKE_NVML_SCRIPT"])
    with (
        pytest.raises(CommandError, match=r"could not be restored to 350 W"),
        GuardedLimit("auto") as limit,
    ):
        limit.set_w(200)
        monkeypatch.setattr(guarded, "ANSWER_S", 1.0)
        monkeypatch.setattr(guarded, "RESTORE_TIMEOUT_S", 1.0)
        guardian_of(psutil.Process()).send_signal(signal.SIGSTOP)
        script.write_text(
            script.read_text().replace(directive, directive.replace("fail ", "fail -"))
        )
        with pytest.raises(CommandError, match="did not answer within 1 s"):
            limit.set_w(150)
    assert board.limits_w() == [350, 200]
    script.write_text(script.read_text().replace(directive.replace("fail ", "fail -"), ""))
    with GuardedLimit("auto") as limit:
        assert (limit.board.former_w, limit.board.left_at_w) == (350, 200)


def test_many_changes_do_not_outgrow_the_file_of_the_former_limit(tmp_path):
    change = Change(350.0)
    for number in range(30_000):
        change = change.and_asked(100.0 + number % 7)
    with Unrestored(Named(), tmp_path) as unrestored:
        unrestored.write(change)
        assert unrestored.read() == Change(350.0, tuple(100.0 + n for n in range(7)))


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


# What a killed guardian leaves


def kill_both(holder):
    """The guardian cannot restore, and the command cannot start another one."""
    guardian = guardian_of(holder)
    holder.send_signal(signal.SIGSTOP)
    guardian.kill()
    holder.kill()
    holder.wait()
    until(lambda: not guardian.is_running() or guardian.status() == psutil.STATUS_ZOMBIE)


def test_the_next_start_restores_what_two_kills_have_left(holder, board):
    kill_both(holder)
    assert board.limits_w() == [350, 200]
    with GuardedLimit("auto") as limit:
        assert (limit.board.former_w, limit.board.left_at_w) == (350, 200)
        assert limit.read_w() == 350
        limit.set_w(150)
    assert board.limits_w() == [350, 200, 350, 150, 350]
    with GuardedLimit("auto") as limit:
        assert (limit.board.former_w, limit.board.left_at_w) == (350, None)


def test_a_limit_that_somebody_has_set_since_is_kept(holder, board):
    kill_both(holder)
    last = board.file.read_text("ascii").splitlines()[-1]
    with board.file.open("a", encoding="ascii") as file:
        file.write(f"{last.split()[0]} 250000\n")
    with GuardedLimit("auto") as limit:
        assert (limit.board.former_w, limit.board.left_at_w) == (250, None)


def test_every_limit_that_was_asked_for_is_remembered(board):
    """The driver refuses the last one, and then both are killed."""
    refused = "    try: limit.set_w(1000)\n    except Exception: print('refused', flush=True)\n"
    script = HOLD.replace("    time.sleep", f"{refused}    time.sleep")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert [process.stdout.readline() for _ in range(2)] == ["200\n", "refused\n"]
    kill_both(process)
    process.stdout.close()
    with GuardedLimit("auto") as limit:
        assert (limit.board.former_w, limit.board.left_at_w) == (350, 200)


def test_one_command_at_a_time_has_a_board(holder, board, monkeypatch):
    with (
        pytest.raises(CommandError, match=r"held by another .*Nothing was changed"),
        GuardedLimit("auto"),
    ):
        pytest.fail("the block was entered")
    assert board.limits_w() == [350, 200]


def test_without_a_place_for_the_former_limit_nothing_is_changed(board, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WATTBENCH_STATE_FOLDER", str(tmp_path / "file" / "state"))
    with (
        pytest.raises(CommandError, match=r"cannot be written.*Nothing was changed"),
        GuardedLimit("auto"),
    ):
        pytest.fail("the block was entered")
    assert board.limits_w() == []


@pytest.mark.parametrize(
    ("left", "now_w", "expected"),
    [
        (None, 350.0, (350.0, None)),
        (Change(350.0, (200.0,)), 200.0, (350.0, 200.0)),
        (Change(350.0, (200.0,)), 201.0, (350.0, 201.0)),
        (Change(350.0, (200.0,)), 201.1, (201.1, None)),
        (Change(350.0, (200.0, 1000.0)), 200.0, (350.0, 200.0)),
        (Change(350.0, (350.0,)), 350.0, (350.0, None)),
        (Change(350.0), 200.0, (200.0, None)),
    ],
)
def test_baseline_is_never_what_was_left(left, now_w, expected):
    assert baseline(left, now_w) == expected


class Named:
    """What an :class:`Unrestored` asks of a limit."""

    name, identity = "nvml:0", "GPU-1/../x"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"[" * 60000, b'{"former_w": "x"}', b"\xff\x00"]
)
def test_a_broken_file_is_no_change(tmp_path, content):
    with Unrestored(Named(), tmp_path) as unrestored:
        unrestored.write(Change(350.0, (200.0, 150.0)))
        assert unrestored.read() == Change(350.0, (200.0, 150.0))
        [file] = tmp_path.glob("*.json")
        assert file.name == "GPU-1_.._x.json"
        file.write_bytes(content)
        assert unrestored.read() is None
        unrestored.clear()
        assert not file.exists()


def test_present_limit_that_is_not_the_default_is_said():
    allowed = LimitRange(100.0, 350.0, 350.0)
    unusual = GuardedBoard("nvml:0", "Simulated", 200.0, allowed, 150.0)
    first, second, third = found(unusual)
    assert "was at 150 W, where a sweep that was killed had left it" in first
    assert "200 W and will be restored" in second
    assert "200 W is not this board's default limit, which is 350 W" in third
    assert len(found(GuardedBoard("nvml:0", "Simulated", 350.0, allowed))) == 1
    unknown = LimitRange(100.0, 350.0, None)
    assert len(found(GuardedBoard("nvml:0", "Simulated", 200.0, unknown))) == 1


# With an administrator's rights


def test_nothing_of_the_current_folder_runs_as_root(board, tmp_path, monkeypatch):
    """A stand-in for sudo: it says that it was used, and starts what it was given."""
    folder, mark, used = (tmp_path / name for name in ("downloads", "mark", "used"))
    folder.mkdir()
    for name in ("argparse.py", "pynvml.py", "torch.py", "sitecustomize.py", "wattbench.py"):
        (folder / name).write_text(f"open({str(mark)!r}, 'a').write(__name__)\n", "utf-8")
    (folder / "wattbench").mkdir()
    (folder / "wattbench" / "__init__.py").write_text(f"open({str(mark)!r}, 'a')\n", "utf-8")
    sudo = tmp_path / "sudo"
    sudo.write_text(f'#!/bin/sh\ntouch {used}\nshift 2\nexec "$@"\n', "ascii")
    sudo.chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    with GuardedLimit("auto", (str(sudo), "-n", "--")) as limit:
        limit.set_w(200)
    assert board.limits_w() == [350, 200, 350]
    assert used.exists()
    assert not mark.exists()


def test_code_that_others_can_write_never_gets_to_sudo(board, tmp_path, monkeypatch):
    bootstrap = tmp_path / "bootstrap.py"
    bootstrap.touch()
    bootstrap.chmod(0o666)
    monkeypatch.setattr("wattbench.processes.children.BOOTSTRAP", bootstrap)
    with (
        pytest.raises(
            CommandError, match=r"(?s)refused .* can be written by every user.*chmod go-w"
        ),
        GuardedLimit("auto", ("touch", str(tmp_path / "used"))),
    ):
        pytest.fail("the block was entered")
    assert not (tmp_path / "used").exists()
    assert board.limits_w() == []
