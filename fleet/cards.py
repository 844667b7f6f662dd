"""The cards of a machine as a fleet knows them, and which of them a plan asks for."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..measure.meters.base import MeterUnavailableError
from ..measure.meters.identity import uuid_key
from ..measure.meters.nvml_library import Board, nvml_boards, nvml_library
from ..measure.recording.environment import driver_version, git_commit, pack_version
from ..records import short_hash
from ..study.plan import CardsWanted

MASK = "CUDA_VISIBLE_DEVICES"
HOST_VARIABLE = "WATTBENCH_FLEET_HOST"
"""What this machine is called, where its own name does not last, as in a container."""


@dataclass(frozen=True)
class Card:
    """A card of a machine. Without ``uuid`` it is whatever ComfyUI finds there by itself.

    ``board`` is the name of its meter, such as ``nvml:0``.
    """

    host: str
    gpu: str = ""
    uuid: str = ""
    driver: str = ""
    board: str = ""

    @property
    def key(self) -> str:
        """A name for files, the same for as long as the card stays in its machine."""
        slug = re.sub(r"[^a-z0-9]+", "-", (self.gpu or self.host).lower()).strip("-")
        return f"{slug[:40] or 'card'}-{short_hash([self.host, self.uuid], 8)}"

    @property
    def label(self) -> str:
        return f"{self.gpu or 'the device'} of {self.host}"


@dataclass(frozen=True)
class Machine:
    """What a machine of a fleet says of itself; ``pack`` and ``git_commit`` are WattBench's."""

    host: str
    cards: tuple[Card, ...]
    pack: str
    git_commit: str


@dataclass(frozen=True)
class Placed:
    """A card that measures, with the workloads of the plan that it does (none: all of them)."""

    card: Card
    place: str
    workloads: tuple[str, ...] = ()


def this_machine() -> Machine:
    """The cards here: those that NVML lists and CUDA_VISIBLE_DEVICES leaves, else one of any kind.

    Where there are none it is one card, and ComfyUI finds by itself which.
    """
    host = os.environ.get(HOST_VARIABLE) or platform.node() or "this machine"
    try:
        with nvml_library() as nvml:
            boards = [board for board in nvml_boards(nvml) if not board.error and board.uuid]
    except MeterUnavailableError:
        boards = []
    shown = visible(boards, os.environ.get(MASK))
    cards = tuple(
        Card(host, board.name, board.uuid, driver_version(), f"nvml:{board.index}")
        for board in shown
    )
    return Machine(host, cards or (Card(host),), pack_version(), git_commit())


def visible(boards: Sequence[Board], mask: str | None) -> list[Board]:
    """The boards that a mask leaves: numbers in the order of the bus, or starts of UUIDs."""
    if mask is None:
        return list(boards)
    found = []
    for part in filter(None, (part.strip() for part in mask.split(","))):
        key = uuid_key(part)
        for board in boards:
            is_it = (
                board.index == int(part)
                if part.isdecimal() and len(part) < 4
                else bool(key) and uuid_key(board.uuid).startswith(key)
            )
            if is_it and board not in found:
                found.append(board)
    return found


def is_wanted(card: Card, wanted: CardsWanted) -> bool:
    """Whether a card has all of the labels."""
    return (
        wanted.gpu.lower() in card.gpu.lower()
        and card.driver.startswith(wanted.driver)
        and wanted.host.lower() in ("", card.host.lower())
    )


def mismatch(machine: Machine, here: Machine) -> str:
    """Why a machine may not measure for this one; empty where both run the same WattBench."""
    theirs, ours = (_version(one) for one in (machine, here))
    if theirs == ours:
        return ""
    return (
        f"{machine.host} has WattBench {theirs}, and {here.host} has {ours}: runs of two versions "
        "are not of one study. Install the same on both"
    )


def place(
    wanted: Sequence[CardsWanted], machines: Mapping[str, Machine], here: Machine
) -> tuple[list[Placed], dict[int, str]]:
    """The cards that measure, and for each number in ``wanted`` that found none, what is missing.

    A card is taken once, for all of the workloads that any entry wants of it.
    """
    refused = {name: mismatch(machine, here) for name, machine in machines.items()}
    good = {name: machine for name, machine in machines.items() if not refused[name]}
    placed: dict[str, Placed] = {}
    missing = {}
    for number, entry in enumerate(wanted):
        found = [
            (card, name)
            for name, machine in good.items()
            for card in machine.cards
            if is_wanted(card, entry)
        ]
        for card, name in found:
            before = placed.get(card.key)
            own = entry.workloads
            if before is not None:
                both = before.workloads and own
                own = tuple(dict.fromkeys((*before.workloads, *own))) if both else ()
            placed[card.key] = Placed(card, name, own)
        if not found:
            missing[number] = _missing(entry, good.values(), filter(None, refused.values()))
    return list(placed.values()), missing


def _missing(wanted: CardsWanted, machines: Iterable[Machine], refused: Iterable[str]) -> str:
    there = [
        f"{card.gpu or 'a device without NVML'} (driver {card.driver or 'unknown'}) on {card.host}"
        for machine in machines
        for card in machine.cards
    ]
    text = f"no card has {wanted.labels}; there are: {', '.join(there) or 'no machines'}"
    return "; ".join((text, *dict.fromkeys(refused)))


def _version(machine: Machine) -> str:
    return f"{machine.pack} ({machine.git_commit[:10] or 'no commit known'})"
