"""What is kept while ComfyUI runs: in its server's application.

aiohttp offers an application as the place for what has to live as long as the server does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from server import PromptServer

from ...host import Kept

KEY: web.AppKey[dict[Any, Any]] = web.AppKey("wattbench", dict)


def add_kept() -> None:
    """Begin with nothing. Where ComfyUI runs without a server there is no place for it."""
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.app[KEY] = {}


def kept(kind: Callable[[], Kept]) -> Kept:
    """See :meth:`.host.Host.kept`; a new one each time where there is no server."""
    server = getattr(PromptServer, "instance", None)
    known = server.app.get(KEY, {}) if server is not None else {}
    if kind not in known:
        known[kind] = kind()
    found: Kept = known[kind]
    return found
