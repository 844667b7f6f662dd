"""What other programs can ask of this Forge: its machine, its levers, and the runs it measured."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from modules import shared

from ...attention import offers as attention_offers
from ...measure.protocol.session import open_journal
from ...measure.recording.environment import capture, identify
from ...offer import Offer, machine_of
from .attention import FORGE, NAMES, PREFIX, forge_functions
from .host import HOST
from .options import Options
from .selection import MEMORY_FORMATS
from .storage import storage_names

JOURNAL_ROUTE = "/wattbench/journal"
LEVERS_ROUTE, ENVIRONMENT_ROUTE = "/wattbench/levers", "/wattbench/environment"
ARGUMENTS_ROUTE = "/wattbench/arguments"
MOST_BYTES = 2**26
"""Of one answer."""

log = logging.getLogger(__name__)


def add_routes(_: Any, app: Any) -> None:
    """Serve all of it, unless Forge's API asks for a password, which it would not ask here."""
    if getattr(shared.cmd_opts, "api_auth", None):
        log.info("WattBench serves no journal: Forge's API is protected by a password")
        return
    for route, answer in (
        (JOURNAL_ROUTE, journal_from),
        (LEVERS_ROUTE, levers),
        (ENVIRONMENT_ROUTE, environment),
        (ARGUMENTS_ROUTE, arguments),
    ):
        app.add_api_route(route, answer, methods=["GET"])


def levers() -> dict[str, list[dict[str, Any]]]:
    """What can be chosen for a generation, each level as :class:`...offer.Offer`."""
    own = forge_functions()
    attention = [
        Offer(FORGE, "left to Forge", True),
        *attention_offers(machine_of(HOST.device())),
        *(_offer_of(name, name in own) for name in NAMES),
    ]
    return {
        "attention": [asdict(offer) for offer in attention],
        "memory_format": [asdict(Offer(name, "", True)) for name in MEMORY_FORMATS],
        "weights": [asdict(Offer(name, "", True)) for name in storage_names()],
    }


def _offer_of(name: str, available: bool) -> Offer:
    reason = "" if available else "Forge has not registered it"
    return Offer(PREFIX + name, "Forge's own function", available, reason)


def environment() -> dict[str, Any]:
    """The fields of :class:`...records.Environment`, but for the board's power limit."""
    return asdict(capture(identify(HOST.device()), None, HOST.name, HOST.version))


def arguments() -> dict[str, Any]:
    """The arguments of ``alwayson_scripts`` in their order, each with its default."""
    return asdict(Options())


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
