"""Bring WattBench up with one command, for example ``python tasks.py demo``.

Standard library only. It makes ``.venv``, obtains ComfyUI, installs both, and then hands over to
the tools inside ``.venv``. Environment variables it reads:

* ``COMFYUI_PATH``: an existing ComfyUI to use in place of the pinned download.
* ``WATTBENCH_TORCH_BACKEND``: the torch build to install (``cpu``, ``cu130``, ``rocm7.2``, ...);
  with uv also ``auto``.
* ``WATTBENCH_BROWSER``: the browser for the tests.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from tooling.checks import lint_steps, pytest_step, run_steps
from tooling.comfyui import COMFYUI, comfyui_folder, is_obtained, obtain_comfyui
from tooling.environment import (
    VENV,
    available_backend,
    check_space,
    find_uv,
    fingerprint,
    get_uv,
    install,
    is_installed,
    make_venv,
    venv_python,
)
from tooling.model_workflows import write_workflows
from tooling.mutation import mutate
from tooling.newest import make_newest
from tooling.shell import ROOT, SetupError, answer, hand_over, say

STAMP = VENV / "wattbench-setup.json"
MINIMUM_PYTHON = (3, 10)
DEVELOPERS_PYTHON = (3, 11)
"""What the tools that the extra ``dev`` pins ask for."""


def setup(extra: str) -> None:
    """Bring ``.venv`` and ComfyUI to what this checkout asks for; does nothing where they are.

    Raises:
        SetupError: with what went wrong and what to do.
    """
    comfyui = comfyui_folder()
    requirements = comfyui / "requirements.txt"
    ready = venv_python().exists() and is_obtained(comfyui)
    if ready and is_installed(STAMP, fingerprint(requirements), extra):
        return
    if extra == "dev" and sys.version_info < DEVELOPERS_PYTHON:
        found, wanted = platform.python_version(), ".".join(map(str, DEVELOPERS_PYTHON))
        raise SetupError(f"the tests and checks need Python {wanted} or later, this is {found}")
    started = time.monotonic()
    uv = find_uv()
    if answer([str(venv_python()), "-m", "pip", "--version"]) is None:
        make_venv(uv)
    STAMP.unlink(missing_ok=True)
    uv = uv or get_uv()
    backend = available_backend()
    check_space(uv, backend)
    if comfyui == COMFYUI:
        obtain_comfyui()
    install(uv, backend, requirements, extra)
    record = {"fingerprint": fingerprint(requirements), "extra": extra}
    STAMP.write_text(json.dumps(record), "utf-8")
    say(f"set up in {time.monotonic() - started:.0f} s")


def run_demo(args: argparse.Namespace) -> int:
    setup("headless")
    command = [str(venv_python()), "-m", "wattbench", "run", str(args.workflow)]
    command += ["--out", str(ROOT / "output" / "demo"), "--device", args.device]
    command += ["--estimate-if-unmetered"]
    command += ["--repeats", str(args.repeats)] if args.repeats else []
    return hand_over(command)


def run_serve(args: argparse.Namespace) -> int:
    setup("headless")
    command = [str(venv_python()), "-m", "wattbench", "serve", "--device", args.device]
    return hand_over([*command, "--port", str(args.port)])


def run_setup(args: argparse.Namespace) -> int:
    setup("headless")
    say(f"ready: {venv_python()}, ComfyUI in {comfyui_folder()}")
    return 0


def run_lint(args: argparse.Namespace) -> int:
    setup("dev")
    return run_steps(lint_steps())


def run_test(args: argparse.Namespace) -> int:
    setup("dev")
    python = make_newest() if args.newest else venv_python()
    env = dict(os.environ)
    browser = subprocess.run(
        [str(venv_python()), str(ROOT / "tests" / "find_browser.py")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        env={**env, "PYTHONIOENCODING": "utf-8"},
    )
    if browser.returncode == 0:
        env["WATTBENCH_BROWSER"] = browser.stdout.strip()
    elif os.environ.get("CI") == "true":
        raise SetupError("the tests need a browser, and in CI a skipped test must not pass for one")
    if args.newest:
        return hand_over([str(python), "-m", "pytest", *args.pytest], env)
    return run_steps([*lint_steps(), pytest_step(args.pytest)], env)


def run_soak(args: argparse.Namespace) -> int:
    """What is short, or left out, in the gate (tests/soaking.py); it notes what it found."""
    setup("dev")
    found = ROOT / "output" / "soak.jsonl"
    found.parent.mkdir(exist_ok=True)
    found.unlink(missing_ok=True)
    env = {**os.environ, "WATTBENCH_SOAK": str(found)}
    code = run_steps([("soak", ["pytest", "-s", *args.pytest])], env)
    say(f"figures: {found}")
    return code


def run_mutate(args: argparse.Namespace) -> int:
    setup("dev")
    return mutate(args.paths, args.jobs, args.pytest)


def run_workflows(args: argparse.Namespace) -> int:
    write_workflows()
    return 0


def parse_args(arguments: list[str]) -> argparse.Namespace:
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(prog="tasks.py", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")

    demo = commands.add_parser("demo", parents=[device], help="measure images and show the table")
    demo.add_argument("--repeats", type=int, help="measured images (default: the workflow's own)")
    demo.add_argument("--workflow", type=Path, default=ROOT / "workflows" / "quickstart.json")
    demo.set_defaults(run=run_demo)
    serve = commands.add_parser("serve", parents=[device], help="start ComfyUI with the pack")
    serve.add_argument("--port", type=int, default=8188)
    serve.set_defaults(run=run_serve)
    test = commands.add_parser("test", help="all that CI runs; arguments after -- go to pytest")
    test.add_argument(
        "--newest",
        action="store_true",
        help="pytest alone, with the newest torch, kitchen, frontend and templates, under the "
        "pinned ComfyUI or that of COMFYUI_PATH; not part of CI",
    )
    test.set_defaults(run=run_test)
    soak = commands.add_parser(
        "soak", help="what is too long for the gate, hours: faults, deaths, real batches"
    )
    soak.set_defaults(run=run_soak)
    commands.add_parser("lint", help="ruff and mypy only").set_defaults(run=run_lint)
    mutate = commands.add_parser(
        "mutate", help="which planted faults no test notices; tests to run may follow after --"
    )
    mutate.add_argument("paths", nargs="+", help="modules or folders, as measure/energy stats.py")
    mutate.add_argument("--jobs", type=int, default=1, help="faults tried at a time (default: 1)")
    mutate.set_defaults(run=run_mutate)
    workflows = commands.add_parser(
        "workflows", help="write the workflows of workflows/models.toml"
    )
    workflows.set_defaults(run=run_workflows)
    commands.add_parser("setup", help="only set up").set_defaults(run=run_setup)

    args = parser.parse_args(arguments[:cut])
    args.pytest = arguments[cut + 1 :]
    if args.pytest and args.command not in ("test", "mutate", "soak"):
        parser.error("arguments after -- are pytest's; only test, mutate and soak take them")
    return args


def main(arguments: list[str]) -> int:
    """Run one command; its exit code, or 1 with a message where setting up failed."""
    if sys.version_info < MINIMUM_PYTHON:
        found, wanted = platform.python_version(), ".".join(map(str, MINIMUM_PYTHON))
        print(f"wattbench: this is Python {found}; {wanted} or later is needed", file=sys.stderr)
        return 1
    args = parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # A folder's name may hold what the system's encoding lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return args.run(args)
    except SetupError as error:
        print(f"wattbench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
