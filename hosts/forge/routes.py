"""What other programs can ask of this Forge: the runs that it has measured."""

from __future__ import annotations

import logging
from typing import Any

from modules import shared

from ...measure.protocol.session import open_journal
from .host import HOST

JOURNAL_ROUTE = "/wattbench/journal"
MOST_BYTES = 2**26
"""Of one answer."""

log = logging.getLogger(__name__)


def add_routes(_: Any, app: Any) -> None:
    """Serve the journal, unless Forge's API asks for a password, which it would not ask here."""
    if getattr(shared.cmd_opts, "api_auth", None):
        log.info("WattBench serves no journal: Forge's API is protected by a password")
        return
    app.add_api_route(JOURNAL_ROUTE, journal_from, methods=["GET"])


def journal_from(since: int = -1) -> dict[str, Any]:
    """Lines of the journal from a byte on, and where they end; -1 tells the end alone."""
    path = open_journal(HOST).path
    size = path.stat().st_size
    if not 0 <= since <= size:
        return {"end": size, "text": ""}
    with path.open("rb") as file:
        file.seek(since)
        data = file.read(MOST_BYTES)
    return {"end": since + len(data), "text": data.decode("utf-8", "replace")}
