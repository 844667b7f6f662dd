"""Runs a command and ends it, and all that it started, as soon as who asked for it is gone.

A file to be started by its absolute path, by :mod:`.children`, at the head of a session of its own.
Standard input begins with one line, the JSON list of the command, and stays open for as long as the
other side lives: the kernel closes it where that is killed. Not used on Windows.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1
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

    def die_with_us() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own_pid:
            os._exit(1)

    _start_watcher()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_us) as process:
        threading.Thread(target=_end_with_the_other_side, daemon=True).start()
        code = process.wait()
    if code >= 0:
        return code
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if -code in PASSED_OVER:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(own_pid, -code)
    return 128 - code


def _end_with_the_other_side() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def _start_watcher() -> None:
    """A second process that ends the whole group when the other side is gone, or this one is.

    So either of the two may be killed, and what the command leaves behind goes too.
    """
    ours, kept_open = os.pipe()
    if os.fork():
        os.close(ours)
        return
    os.close(kept_open)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)  # Who reads the command's output waits for it alone.
    while True:
        readable, _, _ = select.select([0, ours], [], [])
        if any(not os.read(end, 4096) for end in readable):
            os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
