"""Who measures what next, until every card has measured the plan.

Cells never go to another card: every card that the plan asks for measures its cells itself, one
visit-block after the other. What this process knows is in the store or on the cards' machines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..study.plan import Plan
from .cards import Card, Machine, Placed, place
from .parcel import Parcel
from .places import LostError, Places
from .store import PulledError, Store
from .worker import Assignment, Outcome

TRIES = 3
"""How often in a row a card may come back without a new visit."""

LOOK_S = 5.0
"""How often machines are looked for."""

PAUSE_S = 0.5

RETRY_S = 5.0
"""How long a card rests after a failure: what has just died may take a while to be gone."""

SAID_S = 300.0
"""How often it is said that a block is still waited for."""

BEGIN_S = 1800.0
"""How long a block may lie without being begun, before its card is given up."""

Event = dict[str, Any]


@dataclass
class Working:
    """A card of the study. ``stopped`` says why it measures no more, empty where it may."""

    placed: Placed
    next_block: int = 1
    is_over: bool = False
    stopped: str = ""
    trouble: str = ""
    idle_tries: int = 0
    not_before_s: float = -math.inf

    @property
    def card(self) -> Card:
        return self.placed.card

    @property
    def is_done(self) -> bool:
        return self.is_over or bool(self.stopped)


@dataclass(frozen=True)
class Sent:
    """What is being carried out, and where: its card may be elsewhere by the time that it fails."""

    working: Working
    place: str
    sent_s: float


@dataclass
class Coordinator:
    """Carries a plan out on the cards of ``places``.

    Args:
        here: this machine, whose WattBench the others must have.
        options: for ``wattbench matrix``; ``comfyui_arguments`` for every ComfyUI.
        patience_s: how long cards are waited for that are missing or lost, once nobody measures.
        tell: gets every event.
    """

    plan: Plan
    parcel: Parcel
    places: Places
    store: Store
    here: Machine
    options: tuple[str, ...] = ()
    comfyui_arguments: tuple[str, ...] = ()
    patience_s: float = 60.0
    tell: Callable[[Event], None] = lambda event: None
    clock: Callable[[], float] = time.monotonic
    rest: Callable[[float], None] = time.sleep
    cards: dict[str, Working] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    _there: frozenset[str] = frozenset()
    _gone: set[str] = field(default_factory=set)
    _flying: dict[Future[Outcome], Sent] = field(default_factory=dict)
    _said_s: float = -math.inf

    def run(self) -> bool:
        """Measure until all is done or nobody comes; whether every card's plan is over."""
        waits_since_s, looked_s = self.clock(), -math.inf
        while True:
            if self.clock() - looked_s >= LOOK_S:
                self._look(is_first=looked_s == -math.inf)
                looked_s = self.clock()
            self._send()
            if self._flying:
                waits_since_s = self.clock()
                self._say_waits()
                self._give_up()
            elif self._is_done() or self.clock() - waits_since_s >= self.patience_s:
                break
            if not self._flying:
                self.rest(PAUSE_S)
                continue
            done, _ = wait(self._flying, PAUSE_S, FIRST_COMPLETED)
            for future in done:
                self._take(self._flying.pop(future), future)
        return not self.missing and all(working.is_over for working in self.cards.values())

    def _say_waits(self) -> None:
        """Name, from time to time, the blocks that are long in coming."""
        now_s = self.clock()
        if now_s - self._said_s < SAID_S:
            return
        for sent in self._flying.values():
            if now_s - sent.sent_s >= SAID_S:
                self._said_s = now_s
                working, waited_s = sent.working, now_s - sent.sent_s
                self.tell(
                    {
                        "event": "waits",
                        "card": working.card.key,
                        "block": working.next_block,
                        "waited_s": waited_s,
                    }
                )

    def _give_up(self) -> None:
        """Take back what no machine has begun; what runs may take as long as it does."""
        now_s = self.clock()
        for future, sent in list(self._flying.items()):
            if now_s - sent.sent_s >= BEGIN_S and future.cancel():
                del self._flying[future]
                self._stop(
                    sent.working,
                    f"its block was not begun within {BEGIN_S / 60:g} minutes: something else has "
                    f"taken {sent.working.card.host}, or it does not take on work any more. Look "
                    "with `wattbench fleet status`, and continue with --resume",
                )

    def _is_done(self) -> bool:
        return not self.missing and all(working.is_done for working in self.cards.values())

    def _look(self, is_first: bool) -> None:
        """Find the machines that are there, and say what changed."""
        found = self.places.machines()
        machines = {name: one for name, one in found.items() if name not in self._gone}
        self._there = frozenset(machines)
        placed, missing = place(self.plan.fleet.cards, machines, self.here)
        for one in placed:
            working = self.cards.get(one.card.key)
            if working is None:
                working = self.cards[one.card.key] = Working(one)
                working.next_block = max(1, self.store.blocks_of(one.card))
                self.tell({"event": "card", "card": one.card.key, "label": one.card.label})
            elif working.placed.place != one.place and working.placed.place not in self._there:
                working.placed, working.idle_tries = one, 0
                self.tell({"event": "back", "card": one.card.key, "label": one.card.label})
        silent = self.places.silent()
        missing = {number: "; ".join((why, *silent)) for number, why in missing.items()}
        for number, reason in missing.items():
            if is_first or number not in self.missing:
                self.tell({"event": "unplaceable", "cells": self._cells(number), "reason": reason})
        self.missing = missing

    def _cells(self, number: int) -> list[str]:
        """The cells that an entry of the plan's cards asks for."""
        own = self.plan.only(self.plan.fleet.cards[number].workloads)
        return [cell.name for cell in own.cells()]

    def _send(self) -> None:
        """Give every machine that is free its next card, or all of its cards where these may."""
        busy = {sent.working.card.host for sent in self._flying.values()}
        waiting: dict[str, list[Working]] = {}
        for working in self.cards.values():
            is_there = working.placed.place in self._there - self._gone
            rests = self.clock() < working.not_before_s
            may = is_there and not rests and not working.is_done
            if may and working.card.host not in busy:
                waiting.setdefault(working.card.host, []).append(working)
        for cards in waiting.values():
            cards.sort(key=lambda working: working.next_block)
            going = cards if self.plan.fleet.together else cards[:1]
            for working in going:
                others = tuple(other.card.label for other in going if other is not working)
                self._submit(working, others, 1 / len(going))

    def _submit(self, working: Working, beside: tuple[str, ...], share: float) -> None:
        assignment = Assignment(
            self.store.study,
            self.here,
            self.parcel,
            working.card,
            working.next_block,
            working.placed.workloads,
            beside,
            self.options,
            self.comfyui_arguments,
        )
        self.tell({"event": "begins", "card": working.card.key, "block": working.next_block})
        future = self.places.submit(working.placed.place, assignment, share)
        self._flying[future] = Sent(working, working.placed.place, self.clock())

    def _take(self, sent: Sent, future: Future[Outcome]) -> None:
        """What came of an assignment."""
        working = sent.working
        try:
            outcome = future.result()
        except LostError as error:
            if error.place_is_gone:
                self._gone.add(sent.place)
            outcome = Outcome("failed", f"lost: {error}")
        took_s = self.clock() - sent.sent_s
        if outcome.status == "refused":
            self._stop(working, outcome.reason)
            return
        visits = 0
        if outcome.status == "failed":
            with suppress(PulledError):
                visits = self.store.keep(working.card, outcome.files)
            self._trouble(working, outcome.reason, visits)
            return
        try:
            visits = self.store.keep(working.card, outcome.files)
        except PulledError as error:
            self._stop(working, str(error))
            return
        working.trouble, working.idle_tries = "", 0
        blocks = self.store.blocks_of(working.card)
        working.next_block = max(working.next_block, blocks) + 1
        working.is_over = outcome.status == "over"
        self.tell(
            {
                "event": "block",
                "card": working.card.key,
                "block": blocks,
                "visits": visits,
                "over": working.is_over,
                "duration_s": outcome.duration_s,
                "overhead_s": took_s - outcome.duration_s,
            }
        )

    def _trouble(self, working: Working, reason: str, visits: int) -> None:
        working.trouble = reason
        working.next_block = max(1, self.store.blocks_of(working.card))
        working.not_before_s = self.clock() + RETRY_S
        working.idle_tries = 1 if visits else working.idle_tries + 1
        self.tell({"event": "trouble", "card": working.card.key, "reason": reason})
        if working.idle_tries >= TRIES:
            self._stop(working, f"{reason} ({TRIES} times without a new visit)")

    def _stop(self, working: Working, reason: str) -> None:
        working.stopped = reason
        self.tell({"event": "stopped", "card": working.card.key, "reason": reason})


def reasons_of(coordinator: Coordinator) -> Mapping[str, str]:
    """Why cards have not measured all of the plan, by their keys."""
    return {
        key: working.stopped or working.trouble or "its machine did not come back"
        for key, working in coordinator.cards.items()
        if not working.is_over
    }
