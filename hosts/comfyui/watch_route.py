"""The route by which the page's setting switches the watching of every prompt on and off."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from server import PromptServer

from .progress import EveryPrompt, Follower
from .requests import json_body

ROUTE = "/wattbench/watch"
WANTED = 'send {"every_prompt": true} or false'


def add_watch_route(make: Callable[[], Follower]) -> None:
    """Serve ``POST /wattbench/watch`` with ``{"every_prompt": bool}`` for as long as ComfyUI runs.

    It answers the same; a body that is not so is answered with status 400. Every prompt that begins
    while it is on gets a follower from ``make``. Where ComfyUI runs without a server there is
    nobody to serve.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    every_prompt = EveryPrompt(make)

    async def answer(request: web.Request) -> web.Response:
        body = await json_body(request, WANTED)
        is_on = body.get("every_prompt")
        if not isinstance(is_on, bool):
            raise web.HTTPBadRequest(text=WANTED)
        every_prompt.switch(is_on)
        return web.json_response({"every_prompt": is_on})

    server.routes.post(ROUTE)(answer)
