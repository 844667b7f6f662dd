"""One workflow on a running server, by comfy-cli in a process of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ...errors import CommandError, UsageError
from ...incoming import MAX_WORKFLOW_BYTES, IncomingError, read_json
from ...processes.children import Child, clean_environment, module_command, run
from ...processes.signals import held
from .client import ComfyClient, ServerUnreachableError
from .ui_file import checked, is_ui_format

Event = dict[str, Any]

TIMED_OUT, CANCELLED = "ws_timeout", "cancelled"
UNKNOWN_NODES, NODE_FAILED = "workflow_unknown_nodes", "execution_error"
"""comfy-cli's error codes: a silent server, an interrupted prompt, missing nodes, a failing one."""

ARRIVES_S = 3.0
"""How long a prompt that was sent may take to be in the queue."""


@dataclass
class Job:
    """How a workflow went: ``error`` is empty where it succeeded.

    ``was_late`` tells that it was given up at its deadline.

    ``outputs`` are the files that nodes reported, as ComfyUI describes them: ``filename``,
    ``subfolder``, ``type`` and the ``category`` (``images``, ...).
    """

    prompt_id: str | None = None
    outputs: list[dict[str, str]] = field(default_factory=list)
    error: str = ""
    was_cancelled: bool = False
    was_late: bool = False


def check_installed() -> None:
    """Raise UsageError where comfy-cli is not installed beside this package."""
    if importlib.util.find_spec("comfy_cli") is None:
        raise UsageError("comfy-cli is missing; install it with `pip install comfy-cli`")


def to_api_format(client: ComfyClient, workflow: Path) -> dict[str, Any]:
    """The graph of a UI or API file in API format, converted with the server's own nodes.

    Raises:
        CommandError: it holds no workflow, the server lacks one of its nodes, or the graph is not
            what the file says.
    """
    try:
        content = read_json(workflow, MAX_WORKFLOW_BYTES)
    except IncomingError as error:
        raise CommandError(str(error)) from error
    command = _command(client, workflow, "--print-prompt", "--json")
    done = run(command, _environment(client))
    events = list(_events(done.stdout.splitlines()))
    previews = [event["prompt"] for event in events if event.get("type") == "prompt_preview"]
    if done.returncode != 0 or not previews:
        raise CommandError(f"{workflow} cannot be run: {_failure(events, done.stderr)}")
    graph = dict(previews[-1])
    return checked(graph, content) if is_ui_format(content) else graph


def run_workflow(
    client: ComfyClient,
    workflow: Path,
    timeout_s: int,
    on_event: Callable[[Event], None],
    deadline_s: float | None = None,
) -> Job:
    """Queue ``workflow`` and wait for its end; ``on_event`` gets every event of comfy-cli.

    Args:
        timeout_s: longest silence of the server in seconds.
        deadline_s: longest time in seconds that all of it may take; then it is given up.

    Raises:
        KeyboardInterrupt: or whatever ``on_event`` raises, after the prompt was cancelled.
    """
    job = Job()
    before = _queued(client)
    events: list[Event] = []
    command = _command(client, workflow, "--wait", "--json", "--timeout", str(timeout_s))
    with (
        tempfile.TemporaryFile() as errors,
        contextlib.ExitStack() as unless_it_ends,
    ):
        unless_it_ends.callback(_give_up, client, job, workflow, before)
        with (
            _started(client, command, errors) as process,
            _deadline(process, deadline_s) as passed,
        ):
            lines = (line.decode("utf-8", "replace") for line in process.stdout or ())
            for event in _events(lines):
                events.append(event)
                job.prompt_id = event.get("prompt_id", job.prompt_id)
                if event.get("type") == "executed":
                    job.outputs.extend(event.get("outputs", ()))
                on_event(event)
            code = process.wait()
            job.was_late = code != 0 and passed.is_set()
        unless_it_ends.pop_all()
        errors.seek(0)
        if code != 0:
            job.error = _failure(events, errors.read().decode("utf-8", "replace"))
    if job.was_late:
        job.error = f"it did not end within its deadline of {deadline_s:g} s"
        _give_up(client, job, workflow, before)
    error_code = _error_of(events).get("code")
    job.was_cancelled = error_code == CANCELLED
    if error_code == TIMED_OUT:
        _give_up(client, job, workflow, before)
    return job


@contextlib.contextmanager
def _started(client: ComfyClient, command: list[str], errors: IO[bytes]) -> Iterator[Child]:
    """A process that does not outlive the block; its error output goes to ``errors``."""
    process: Child | None = None
    try:
        with held():
            process = Child(
                command, environment=_environment(client), stdout=subprocess.PIPE, stderr=errors
            )
        yield process
    finally:
        if process is not None:
            process.end(patience_s=0.0)


@contextlib.contextmanager
def _deadline(process: Child, seconds: float | None) -> Iterator[threading.Event]:
    """An event that is set when so much time has passed; the process is ended then."""
    passed = threading.Event()

    def end() -> None:
        passed.set()
        process.end(patience_s=0.0)

    timer = threading.Timer(threading.TIMEOUT_MAX if seconds is None else seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield passed
    finally:
        timer.cancel()


def _command(client: ComfyClient, workflow: Path, *options: str) -> list[str]:
    """comfy-cli's ``run``, from the environment that this package is installed in."""
    command = module_command("comfy_cli", "--skip-prompt", "run")
    command += ["--workflow", str(workflow), "--host", client.host, "--port", str(client.port)]
    return [*command, *options]


def _environment(client: ComfyClient) -> dict[str, str]:
    """comfy-cli reaches the server as our own client does: without a proxy."""
    return clean_environment({"DO_NOT_TRACK": "1"}, direct=[client.host])


def _events(lines: Iterable[str]) -> Iterator[Event]:
    """comfy-cli's JSON documents, one a line; other lines are passed over."""
    for line in lines:
        with contextlib.suppress(ValueError):
            document = json.loads(line)
            if isinstance(document, dict):
                yield document


def _error_of(events: list[Event]) -> dict[str, Any]:
    """The error of the closing envelope, empty where there is none."""
    return next((e["error"] for e in reversed(events) if e.get("error")), {})


def _failure(events: list[Event], stderr: str) -> str:
    """What went wrong, in comfy-cli's words and with the node's own message where it has one."""
    error = _error_of(events)
    if not error:
        return f"comfy-cli failed without a reason: {stderr.strip() or 'no output'}"
    if error["code"] == NODE_FAILED:
        return str(error["message"])  # Names the node; the hint is about comfy-cli's own commands.
    details = error.get("details") or {}
    parts = [f"{error['message']} ({error['code']})"]
    nodes = [*details.get("errors", ()), *details.get("node_errors", ())]
    parts += [json.dumps(entry) if "errors" in entry else entry["message"] for entry in nodes]
    parts += [error.get("hint") or ""] if not nodes else []
    if error["code"] == UNKNOWN_NODES:
        parts.append("a server that this command starts has no other node packs: use --server")
    return "; ".join(part for part in parts if part)


def _queued(client: ComfyClient) -> dict[str, Any] | None:
    """The prompts of a server; ``None`` where it does not say."""
    try:
        return client.queued()
    except ServerUnreachableError:
        return None


def _give_up(client: ComfyClient, job: Job, workflow: Path, before: dict[str, Any] | None) -> None:
    """Free the server of a prompt that nobody waits for any more."""
    if job.prompt_id is None and before is not None:
        job.prompt_id = _unnamed(client, workflow, before)
    if job.prompt_id is not None:
        with contextlib.suppress(ServerUnreachableError):
            client.cancel(job.prompt_id)


def _unnamed(client: ComfyClient, workflow: Path, before: dict[str, Any]) -> str | None:
    """The prompt that comfy-cli had sent, and whose id it had not told yet when it was ended.

    It was not in the queue ``before``, and has the nodes of ``workflow``, which is in API format.
    """
    try:
        nodes = _classes(read_json(workflow, MAX_WORKFLOW_BYTES))
    except IncomingError:
        return None
    deadline_s = time.monotonic() + ARRIVES_S
    while (queued := _queued(client)) is not None:
        for prompt_id, graph in queued.items():
            if prompt_id not in before and _classes(graph) == nodes:
                return prompt_id
        if time.monotonic() >= deadline_s:
            break
        time.sleep(0.1)
    return None


def _classes(graph: Any) -> dict[str, Any]:
    """The classes of the nodes of a graph in API format, by their ids."""
    if not isinstance(graph, dict):
        return {}
    return {name: node.get("class_type") for name, node in graph.items() if isinstance(node, dict)}
