"""One workflow on a running server, by comfy-cli in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .client import ComfyClient
from .errors import CommandError, UsageError

Event = dict[str, Any]

SERVER_MAY_GO_ON = ("ws_timeout", "cancelled")
"""comfy-cli's error codes after which the server still holds the prompt."""


@dataclass
class Job:
    """How a workflow went: ``error`` is empty where it succeeded.

    ``outputs`` are the files that nodes reported, as ComfyUI describes them: ``filename``,
    ``subfolder``, ``type`` and the ``category`` (``images``, ...).
    """

    prompt_id: str | None = None
    outputs: list[dict[str, str]] = field(default_factory=list)
    error: str = ""


def check_installed() -> None:
    """Raise UsageError where comfy-cli is not installed beside this package."""
    if importlib.util.find_spec("comfy_cli") is None:
        raise UsageError("comfy-cli is missing; install it with `pip install wattbench[headless]`")


def to_api_format(client: ComfyClient, workflow: Path) -> dict[str, Any]:
    """The graph of a UI or API file in API format, converted with the server's own nodes.

    Raises:
        UsageError: the file is missing or holds no workflow.
    """
    command = _command(client, workflow, "--print-prompt", "--json")
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=_environment()
    )
    events = [event for line in done.stdout.splitlines() if (event := _event(line))]
    previews = [event["prompt"] for event in events if event.get("type") == "prompt_preview"]
    if done.returncode != 0 or not previews:
        raise UsageError(f"{workflow} cannot be run: {_failure(events, done.stderr)}")
    return dict(previews[-1])


def run_workflow(
    client: ComfyClient,
    workflow: Path,
    timeout_s: int,
    on_event: Callable[[Event], None],
) -> Job:
    """Queue ``workflow`` and wait for its end; ``on_event`` gets every event of comfy-cli.

    Args:
        timeout_s: longest silence of the server in seconds.

    Raises:
        KeyboardInterrupt: after the prompt was cancelled on the server.
    """
    job, events = Job(), []
    command = _command(client, workflow, "--wait", "--json", "--timeout", str(timeout_s))
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env=_environment(),
            start_new_session=True,
        )
        try:
            for line in process.stdout or ():
                event = _event(line)
                if event is None:
                    continue
                events.append(event)
                job.prompt_id = event.get("prompt_id", job.prompt_id)
                if event.get("type") == "executed":
                    job.outputs.extend(event.get("outputs", ()))
                on_event(event)
            code = process.wait()
        except KeyboardInterrupt:
            process.kill()
            process.wait()
            _cancel(client, job)
            raise
        errors.seek(0)
        if code != 0:
            job.error = _failure(events, errors.read())
    if _error_of(events).get("code") in SERVER_MAY_GO_ON:
        _cancel(client, job)
    return job
