"""The route that says what could measure this machine, and for each lack why and what to do."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from aiohttp import web
from server import PromptServer

from ...measure.meters import probe_all

ROUTE = "/wattbench/meters"


def add_meters_route() -> None:
    """Serve ``GET /wattbench/meters``: every meter as :class:`...offer.Offer` in JSON.

    Nothing is probed before it is asked. Where ComfyUI runs without a server there is nobody to
    serve.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(meters))

    server.routes.get(ROUTE)(answer)


def meters() -> list[dict[str, Any]]:
    """What ``GET /wattbench/meters`` answers: `wattbench doctor`'s findings."""
    return [asdict(offer) for offer in probe_all()]
