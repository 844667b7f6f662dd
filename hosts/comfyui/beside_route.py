"""The route that sets another file of results beside those that Show Summary shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from server import PromptServer

from .requests import json_body

ROUTE = "/wattbench/beside"
WANTED = 'send {"own": "the csv of a summary", "other": "a summary.csv", "name": "its file name"}'
LONGEST_NAME = 255


def add_beside_route(compare: Callable[[str, str, str], dict[str, Any]]) -> None:
    """Serve ``POST /wattbench/beside``: what ``compare`` says of two tables; nothing is kept.

    A body that is none, and a file that cannot be compared, are answered with status 400 and the
    reason. Where ComfyUI runs without a server there is nobody to serve.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    async def answer(request: web.Request) -> web.Response:
        body = await json_body(request, WANTED)
        own, other, name = (body.get(key) for key in ("own", "other", "name"))
        if not (isinstance(own, str) and isinstance(other, str) and isinstance(name, str)):
            raise web.HTTPBadRequest(text=WANTED)
        try:
            shown = await asyncio.to_thread(compare, own, other, name[:LONGEST_NAME])
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.json_response(shown)

    server.routes.post(ROUTE)(answer)
