"""Runs a command and ends it, and all that it started, as soon as who asked for it is gone.

A file to be started by its absolute path, by :mod:`.children`, at the head of a session of its own.
On Linux it is also the parent of what loses its own, so that what has left the session ends too.
Standard input begins with one line, the JSON list of the command, and stays open for as long as the
other side lives: the kernel closes it where that is killed. Not used on Windows.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GUARDIAN = b"measure.power_limit.guardian"
"""It ends by itself, after it has given a board its power limit back."""

MOST_S = 10.0
"""So long what goes on starting others is gone after."""

PASSED_OVER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""They are for the command, whose end is then ours."""


def main() -> int:
    """Run the command of standard input; its exit code."""
    for number in PASSED_OVER:
        # A function and not SIG_IGN, which the command would inherit.
        signal.signal(number, lambda *_: None)
    command = json.loads(sys.stdin.buffer.readline())
    own_pid = os.getpid()
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    if prctl is not None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)

    def die_with_us() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own_pid:
            os._exit(1)

    watcher = _start_watcher()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_us) as process:
        threading.Thread(target=_end_with_the_other_side, args=(watcher,), daemon=True).start()
        code = _exit_code(process)
        _end_descendants(watcher)
    if code >= 0:
        return code
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if -code in PASSED_OVER:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(own_pid, -code)
    return 128 - code


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    """That of the command, once it has ended; others that end before it are ours to bury."""
    while process.returncode is None:
        pid, status = os.wait()
        if pid == process.pid:
            process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode


def _end_with_the_other_side(watcher: int) -> None:
    while os.read(0, 4096):
        pass
    _end_descendants(watcher)
    os.killpg(0, signal.SIGKILL)


def _end_descendants(watcher: int) -> None:
    """End all that came from the command, in whatever session it is."""
    until_s = time.monotonic() + MOST_S
    while time.monotonic() < until_s:
        left = [pid for pid in _descendants() if pid != watcher and not _is_spared(pid)]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _descendants() -> Iterator[int]:
    """The running processes below this one, by Linux's table of processes; else none."""
    children: dict[int, list[tuple[int, bool]]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold anything.
            state, parent = entry.read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            children.setdefault(int(parent), []).append((int(entry.parent.name), state != "Z"))
    waiting = [os.getpid()]
    while waiting:
        for pid, is_running in children.get(waiting.pop(), ()):
            waiting.append(pid)
            if is_running:
                yield pid


def _is_spared(pid: int) -> bool:
    """Whether it is a guardian, or another user's, who alone can end it."""
    try:
        folder = Path(f"/proc/{pid}")
        is_others = os.getuid() not in (0, folder.stat().st_uid)
        return is_others or GUARDIAN in folder.joinpath("cmdline").read_bytes()
    except OSError:
        return False


def _start_watcher() -> int:
    """A second process that ends the whole group when the other side is gone, or this one is; its
    number.

    So either of the two may be killed, and what the command leaves behind goes too.
    """
    ours, kept_open = os.pipe()
    pid = os.fork()
    if pid:
        os.close(ours)
        return pid
    os.close(kept_open)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)  # Who reads the command's output waits for it alone.
    while True:
        readable, _, _ = select.select([0, ours], [], [])
        ended = [end for end in readable if not os.read(end, 4096)]
        if ended == [0]:
            # The other process ends what has left the session first, and the group then.
            select.select([ours], [], [], 2 * MOST_S)
        if ended:
            os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
