"""The route that gives a prompt's runs back, as after a cancellation: they are in the journal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from server import PromptServer

from ...measure.protocol.journal import read
from ...measure.protocol.session import open_journal
from ...records import Run
from .host import HOST

ROUTE = "/wattbench/runs/{prompt_id}"
PROMPT_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


def add_runs_route(shown: Callable[[list[Run]], dict[str, Any]]) -> None:
    """Serve ``GET /wattbench/runs/PROMPT``: ``{"count": int, "summary": object or null}``.

    ``count`` are the runs of that prompt in the journal that are no warm-ups, ``summary`` is what
    ``shown`` makes of all of them. A name that no prompt has is answered with status 400. Where
    ComfyUI runs without a server there is nobody to serve.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    def answered(prompt_id: str) -> dict[str, Any]:
        runs = runs_of(open_journal(HOST).path, prompt_id)
        count = sum(not run.is_warmup for run in runs)
        return {"count": count, "summary": shown(runs) if count else None}

    async def answer(request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        if not PROMPT_ID.fullmatch(prompt_id):
            raise web.HTTPBadRequest(text="send the id of a prompt")
        return web.json_response(await asyncio.to_thread(answered, prompt_id))

    server.routes.get(ROUTE)(answer)


def runs_of(journal: Path, prompt_id: str) -> list[Run]:
    """The runs of a prompt; other lines of the journal are passed over unread."""
    if not journal.exists():
        return []
    wanted = f'"job_id":"{prompt_id}"'.encode()
    with journal.open("rb") as file:
        return list(read(b"".join(line for line in file if wanted in line)).runs)
