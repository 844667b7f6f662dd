"""The route that says which functions of sampling other node packs have replaced in this server."""

from __future__ import annotations

import comfy.model_management as management
from aiohttp import web
from server import PromptServer

from .foreign import replaced_functions, replaced_parts

ROUTE = "/wattbench/replaced"


def add_replaced_route() -> None:
    """Serve ``GET /wattbench/replaced``: a JSON list, as runs have it in ``optimizations``."""
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(replaced())

    server.routes.get(ROUTE)(answer)


def replaced() -> list[str]:
    """Replaced functions of ComfyUI's sampling, and parts of the models that are loaded."""
    loaded = [entry.model for entry in list(management.current_loaded_models)]
    denoisers = [m for m in loaded if m is not None and hasattr(m.model, "diffusion_model")]
    parts = [name for model in denoisers for name in replaced_parts(model)]
    return list(dict.fromkeys([*replaced_functions(), *parts]))
