"""What a request to a route of the pack may be, for all routes alike."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web


async def json_body(request: web.Request, wanted: str) -> dict[str, Any]:
    """The JSON object that a request brings.

    A page without an origin of its own (``Origin: null``: a file, a sandboxed frame) that does not
    say where it comes from is refused: ComfyUI's own guard lets it pass.

    Args:
        wanted: what to send, for who sent something else.

    Raises:
        HTTPForbidden: it comes from such a page.
        HTTPBadRequest: it brings no JSON object.
    """
    if request.headers.get("Origin") == "null" and "Sec-Fetch-Site" not in request.headers:
        raise web.HTTPForbidden(text="pages without an origin may not do this")
    try:
        body = json.loads(await request.text())
    except (ValueError, LookupError, RecursionError) as error:
        # No UTF-8 and no JSON are ValueErrors, an unknown charset is a LookupError.
        raise web.HTTPBadRequest(text=wanted) from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text=wanted)
    return body
