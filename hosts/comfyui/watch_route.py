"""The route by which the page's setting switches the watching of every prompt on and off."""

from __future__ import annotations

import json
from collections.abc import Callable

from aiohttp import web
from server import PromptServer

from .progress import EveryPrompt, Follower

ROUTE = "/wattbench/watch"


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
        is_on = _parse(await request.text())
        every_prompt.switch(is_on)
        return web.json_response({"every_prompt": is_on})

    server.routes.post(ROUTE)(answer)


def _parse(text: str) -> bool:
    refusal = web.HTTPBadRequest(text='send {"every_prompt": true} or false')
    try:
        body = json.loads(text)
    except ValueError as error:
        raise refusal from error
    if isinstance(body, dict) and isinstance(body.get("every_prompt"), bool):
        return bool(body["every_prompt"])
    raise refusal
