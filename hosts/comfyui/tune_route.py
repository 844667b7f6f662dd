"""``wattbench tune`` on the running server, begun and followed from its page.

The search runs in a process of its own, which ends with ComfyUI. It queues prompts as a page does.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import web
from comfy.cli_args import args as launch
from server import PromptServer

from ...processes.children import Child, pack_command
from .host import HOST
from .requests import json_body

ROUTE = "/wattbench/tune"
FOLDER = "wattbench/tune"
WANTED = (
    'send {"workflow": {...}, "objective": "s_per_img", "budget_min": 30, "levers": ["attention"]}'
)
OBJECTIVES = ("s_per_img", "j_per_img", "peak_vram")
LONGEST_MIN = 24 * 60
PATIENCE_S = 120.0
"""What was measured is written after a cancellation; the tables of a long search take a while."""

RESULTS = {"report": ("report.html", "text/html"), "tuned": ("tuned.json", "application/json")}


@dataclass
class TuneJob:
    """A search and what it told last; one at a time."""

    folder: Path | None = None
    state: str = "idle"
    events: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    _child: Child | None = None

    def begin(self, workflow: Mapping[str, Any], options: list[str]) -> None:
        """Start a search on this server.

        Raises:
            OSError: its folder cannot be written, or the process not started.
        """
        root = HOST.output_folder() / FOLDER / time.strftime("%Y-%m-%d_%H-%M-%S")
        root.mkdir(parents=True)
        file = root / "workflow.json"
        file.write_text(json.dumps(workflow), "utf-8")
        command = ["tune", str(file), "--out", str(root), "--json", *options]
        command += ["--server", f"{_own_host()}:{launch.port}"]
        with (root / "tune.log").open("wb") as log:
            child = Child(pack_command("__main__", *command), stdout=subprocess.PIPE, stderr=log)
        self.folder, self.state, self.events, self.error = root, "running", {}, ""
        self._child = child
        threading.Thread(target=self._follow, args=(child, root), daemon=True).start()

    def cancel(self) -> None:
        """End the search; what it measured is written. Waits until that is done."""
        if self._child is not None and self.state == "running":
            self.state = "cancelling"
            self._child.end(PATIENCE_S)

    def told(self) -> dict[str, Any]:
        """What the page shows."""
        results = [
            name
            for name, (file, _) in RESULTS.items()
            if self.folder is not None and (self.folder / file).is_file()
        ]
        return {
            "state": self.state,
            "folder": "" if self.folder is None else f"{FOLDER}/{self.folder.name}",
            "events": self.events,
            "error": self.error,
            "results": results,
        }

    def _follow(self, child: Child, root: Path) -> None:
        """Keep the last event of each kind, until the process ends."""
        for line in child.stdout or ():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event:
                self.events = {**self.events, str(event["event"]): event}
        code = child.wait()
        was_cancelled = self.state == "cancelling"
        if code and not was_cancelled:
            lines = (root / "tune.log").read_text("utf-8", errors="replace").strip().splitlines()
            self.error = (lines or [f"the search ended with code {code}"])[-1]
        self.state = "cancelled" if was_cancelled else "failed" if code else "done"


def add_tune_route() -> None:
    """Serve ``/wattbench/tune`` for as long as ComfyUI runs.

    ``POST`` begins a search: ``{"workflow": object, "objective": str, "budget_min": number,
    "levers": [str]}``; 409 while one runs. ``GET`` answers :meth:`TuneJob.told`. ``POST
    /wattbench/tune/cancel`` ends it. ``GET /wattbench/tune/report`` and ``/tuned`` are what the
    last one left. Where ComfyUI runs without a server there is nobody to serve.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    job = TuneJob()

    async def begin(request: web.Request) -> web.Response:
        workflow, options = _parse(await json_body(request, WANTED))
        if job.state in ("running", "cancelling"):
            raise web.HTTPConflict(text="a search runs already: wait for it, or cancel it")
        try:
            job.begin(workflow, options)
        except OSError as error:
            raise web.HTTPInternalServerError(text=f"it cannot be started: {error}") from error
        return web.json_response(job.told())

    async def tell(request: web.Request) -> web.Response:
        return web.json_response(job.told())

    async def cancel(request: web.Request) -> web.Response:
        await json_body(request, "send {}")
        await asyncio.get_running_loop().run_in_executor(None, job.cancel)
        return web.json_response(job.told())

    async def result(request: web.Request) -> web.StreamResponse:
        name, content_type = RESULTS[request.match_info["name"]]
        if job.folder is None or not (job.folder / name).is_file():
            raise web.HTTPNotFound(text=f"the last search left no {name}")
        headers = {"Content-Type": content_type, "X-Content-Type-Options": "nosniff"}
        return web.FileResponse(job.folder / name, headers=headers)

    server.routes.post(ROUTE)(begin)
    server.routes.get(ROUTE)(tell)
    server.routes.post(f"{ROUTE}/cancel")(cancel)
    server.routes.get(f"{ROUTE}/{{name:{'|'.join(RESULTS)}}}")(result)


def _own_host() -> str:
    """Where this machine reaches its own server: the loopback, unless it listens elsewhere only."""
    listened = [ip_address(address.strip()) for address in str(launch.listen).split(",")]
    on_loopback = any(address.is_unspecified or address.is_loopback for address in listened)
    return "127.0.0.1" if on_loopback else str(listened[0])


def _parse(body: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The workflow, and options of the command.

    Raises:
        HTTPBadRequest: something else was sent.
    """
    workflow, objective = body.get("workflow"), body.get("objective")
    budget, levers = body.get("budget_min"), body.get("levers")
    is_number = isinstance(budget, (int, float)) and not isinstance(budget, bool)
    if not (
        isinstance(workflow, dict)
        and workflow
        and objective in OBJECTIVES
        and is_number
        and 0 < float(str(budget)) <= LONGEST_MIN
        and isinstance(levers, list)
        and all(isinstance(lever, str) and lever.isidentifier() for lever in levers)
    ):
        raise web.HTTPBadRequest(text=WANTED)
    options = ["--objective", str(objective), "--budget", str(budget)]
    return workflow, [*options, *(["--levers", *levers] if levers else [])]
