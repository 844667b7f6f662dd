"""What is checked, step by step: ruff, mypy, pytest."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from .environment import venv_python
from .shell import ROOT, hand_over, say

TYPED = (
    "incoming.py",
    "host.py",
    "records.py",
    "requirements.py",
    "offer.py",
    "errors.py",
    "stats.py",
    "processes",
    "tables",
    "measure",
    "attention",
    "quant",
    "quality",
    "law",
    "analysis",
    "report",
    "hosts",
    "scripts",
    "study",
    "fleet",
    "sharing",
    "nodes",
    "cli",
    "__init__.py",
)


def lint_steps() -> list[tuple[str, list[str]]]:
    return [
        ("ruff check", ["ruff", "check", "."]),
        ("ruff format", ["ruff", "format", "--check", "."]),
        ("mypy", ["mypy", *(str(package_link() / path) for path in TYPED)]),
    ]


def pytest_step(arguments: list[str]) -> tuple[str, list[str]]:
    """pytest with ``arguments``; without any, all tests, a group of them at a time on each core.

    ``tests/spread.py`` makes the groups and puts the long ones first. More than four at once
    would only wait for each other: each starts a ComfyUI and a browser, and takes up to 8 GB.
    """
    workers = min(4, os.cpu_count() or 1)
    spread = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    alone = arguments or workers == 1
    return "pytest", ["pytest", *([] if alone else spread), *arguments]


def package_link() -> Path:
    """A link to this folder that is named as the package, relative to it.

    mypy takes module names from folders and looks for others beside them; a checkout may have any
    name and any neighbours. A link on Windows needs rights: there the folder itself must do.
    """
    if os.name == "nt":
        return Path()
    link = Path(".mypy_cache", "checkout", "wattbench")
    (ROOT / link).parent.mkdir(parents=True, exist_ok=True)
    if not (ROOT / link).is_symlink():
        (ROOT / link).symlink_to(Path("..", ".."), target_is_directory=True)
    return link


def run_steps(steps: list[tuple[str, list[str]]], env: dict[str, str] | None = None) -> int:
    """Run every step, even after one that failed, and print how each ended; 0 if all were well.

    The last one shows what it prints as it goes. The others run beside it, one after the other, in
    what it leaves of the cores, and what they printed follows.
    """
    *others, (name, module) = steps
    told: dict[str, Outcome] = {}

    def beside() -> None:
        for name, module in others:
            told[name] = run_quietly(module, env)

    thread = threading.Thread(target=beside)
    thread.start()
    say(f"{name} ...")
    started = time.monotonic()
    code = hand_over([str(venv_python()), "-m", *module], env)
    last = Outcome(code, "", time.monotonic() - started)
    thread.join()
    for name, outcome in told.items():
        if outcome.printed.strip():
            say(f"{name}:\n{outcome.printed.rstrip()}")
    told[steps[-1][0]] = last
    for name, outcome in told.items():
        ending = "ok" if outcome.code == 0 else f"FAILED ({outcome.code})"
        say(f"{name:12} {ending:12} {outcome.seconds:6.1f} s")
    return int(any(outcome.code != 0 for outcome in told.values()))


@dataclass(frozen=True)
class Outcome:
    """How a step ended."""

    code: int
    printed: str
    seconds: float


def run_quietly(module: list[str], env: dict[str, str] | None) -> Outcome:
    """Run a module; what it printed is kept."""
    started = time.monotonic()
    done = subprocess.run(
        [str(venv_python()), "-m", *module],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    return Outcome(done.returncode, done.stdout, time.monotonic() - started)
