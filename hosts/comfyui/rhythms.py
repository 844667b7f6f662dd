"""Where the rhythms of counters are kept while ComfyUI runs: in its server's application.

aiohttp offers an application as the place for what has to live as long as the server does.
"""

from __future__ import annotations

from aiohttp import web
from server import PromptServer

from ...measure.recording.rhythms import Rhythms

KEY = web.AppKey("wattbench_rhythms", Rhythms)


def add_rhythms() -> None:
    """Begin without any. Where ComfyUI runs without a server there is no place for them."""
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.app[KEY] = Rhythms()


def known_rhythms() -> Rhythms:
    """Those of this server; new ones, which nobody will see again, where there is no server."""
    server = getattr(PromptServer, "instance", None)
    return server.app.get(KEY, Rhythms()) if server is not None else Rhythms()
