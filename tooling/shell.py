"""Starting other programs, and saying what they failed at."""

from __future__ import annotations

import collections
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAILURES = {
    "a disk is full": r"No space left|os error 28\b|os error 112\b|not enough space|disk is full",
    "something may not be written": r"Permission denied|Read-only file system|Access is denied",
    "the network or its proxy does not let us through": r"name resolution|dns error|[Cc]onnection"
    r"|timed out|unreachable|[Pp]roxy|Failed to fetch|SSL",
    "there is no build for {python} on {system}": r"No matching distribution|Requires-Python"
    r"|no wheels with a matching|no matching|[Nn]o solution found|not a supported wheel",
}
"""What went wrong, by what pip and uv print then; the first that fits counts."""


class SetupError(Exception):
    """Setting up cannot go on; the message says why and what to do."""


def say(text: str) -> None:
    print(f"wattbench: {text}", flush=True)


def call(command: list[str], failure: str, env: dict[str, str] | None = None) -> None:
    """Run ``command`` with its output shown.

    Raises:
        SetupError: it could not be started or did not exit with 0. The message is ``failure`` and
            what the command's last lines tell.
    """
    last = collections.deque[str](maxlen=100)
    try:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise SetupError(f"{failure}: {error}") from error
    with child:
        for line in child.stderr or ():
            sys.stderr.write(line)
            last.append(line)
    if child.returncode != 0:
        raise SetupError(f"{failure}: {what_happened(''.join(last))}")


def what_happened(printed: str) -> str:
    """What pip or uv failed at, from what they printed."""
    build = {
        "python": f"Python {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
    }
    for meaning, pattern in FAILURES.items():
        found = re.search(pattern, printed)
        if found:
            line = next(line for line in printed.splitlines() if re.search(pattern, line))
            return f"{meaning.format(**build)} ({line.strip()})"
    return "the lines above say why"


def answer(command: list[str]) -> str | None:
    """Standard output of ``command``, or ``None`` where it cannot run or fails."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def hand_over(command: list[str], env: dict[str, str] | None = None, cwd: Path = ROOT) -> int:
    """Run the tool that does the work and wait for it, also while it cleans up after Ctrl-C."""
    child = subprocess.Popen(command, cwd=cwd, env=env)
    # A terminal sends Ctrl-C to the child as well; SIGTERM reaches us alone.
    handlers = {signal.SIGINT: lambda *_: None, signal.SIGTERM: lambda *_: child.terminate()}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        return child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
