"""Which levels of which levers are worth trying on a machine, and why the others are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from .levers import LEVERS, lever_named
from .plan import nearest
from .search import Lever

Offers = Mapping[str, Sequence[Mapping[str, Any]]]
"""For each lever its levels, as ``/wattbench/levers`` answers."""

AUTO = "auto"
SLOW_BY_DESIGN = ("sdpa_math", "sub_quadratic", "split")
AS_IT_IS = ("forge", "as loaded", "Automatic")
"""Levels of Forge's that are no change."""
NEEDS_CALIBRATION = ("fp8_static",)
PLAIN = ("bf16", "fp16")
DEFAULT_COMPILE = ("reduce-overhead", "default")
SAVES_MEMORY = "peak_vram"


@dataclass(frozen=True)
class LeftOut:
    """A level that is not tried, and why."""

    lever: str
    level: str
    reason: str


@dataclass(frozen=True)
class Levels:
    """What is tried, and what is not.

    ``needs`` are launch options of ComfyUI without which a level does not work, by lever and level.
    """

    levers: tuple[Lever, ...]
    left_out: tuple[LeftOut, ...]
    needs: Mapping[tuple[str, str], str] = field(default_factory=dict)


def choose(
    offered: Offers,
    asked: Mapping[str, Sequence[str] | None],
    objective: str,
    own_servers: bool,
) -> Levels:
    """The levels to try.

    Args:
        offered: what ``/wattbench/levers`` answers.
        asked: levers, each with its levels or ``None`` for those that are sensible here.
        objective: what is to become smaller; formats that only save memory are tried for
            ``peak_vram``.
        own_servers: whether servers can be started with other launch options.

    Raises:
        UsageError: a lever or level that there is not, or that this machine lacks.
    """
    chosen, left_out, needs = [], [], {}
    for kind in LEVERS:
        levels = []
        named = asked.get(kind.name)
        for offer in _with_auto(kind.name, offered.get(kind.name, ())):
            reason = "" if offer["available"] else _reason(offer)
            if not reason and kind.place == "server" and not own_servers:
                reason = "the server is running already"
            if not reason and offer.get("needs"):
                needs[(kind.name, offer["name"])] = offer["needs"]
                reason = "" if own_servers else f"it needs a ComfyUI with {offer['needs']}"
            if kind.name not in asked:
                reason = reason or "not asked for"
            elif named is None:
                reason = reason or _not_by_default(kind.name, offer, objective)
            elif offer["name"] not in named:
                reason = reason or "not asked for"
            elif reason:
                raise UsageError(f"{kind.name}={offer['name']} cannot be tried here: {reason}")
            if reason:
                left_out.append(LeftOut(kind.name, offer["name"], reason))
            else:
                levels.append(offer["name"])
        known = [offer["name"] for offer in _with_auto(kind.name, offered.get(kind.name, ()))]
        for level in named or ():
            if level not in known and kind.place == "server" and level.startswith("--"):
                if not own_servers:
                    raise UsageError(f"launch={level} needs a server of our own: leave it out")
                levels.append(level)
            elif level not in known:
                raise UsageError(f"{kind.name} has no level {level!r}{nearest(level, known)}")
        if levels:
            chosen.append(Lever(kind.name, tuple(dict.fromkeys(levels))))
    return Levels(tuple(chosen), tuple(left_out), needs)


def level_refused(lever: str, level: str, offered: Offers) -> str:
    """Why this machine cannot run a level; empty where it can.

    Raises:
        UsageError: no machine has it.
    """
    if lever not in offered:
        return f"this server has no lever {lever!r}"
    offers = {offer["name"]: offer for offer in _with_auto(lever, offered[lever])}
    if level in offers:
        return "" if offers[level]["available"] else _reason(offers[level])
    if lever_named(lever).place == "server" and level.startswith("--"):
        return ""
    raise UsageError(f"{lever} has no level {level!r}{nearest(level, list(offers))}")


def parse_levers(words: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """``attention``, ``weights=fp8,nf4`` and the like; every lever where nothing is asked for.

    Raises:
        UsageError: a word that names no lever.
    """
    if not words:
        return dict.fromkeys(lever.name for lever in LEVERS)
    asked: dict[str, tuple[str, ...] | None] = {}
    for word in words:
        name, sign, levels = word.partition("=")
        try:
            lever_named(name)
        except ValueError as error:
            close = nearest(name, [lever.name for lever in LEVERS])
            raise UsageError(f"there is no lever {name!r}{close}") from error
        listed = tuple(level.strip() for level in levels.split(",") if level.strip())
        if sign and not listed:
            raise UsageError(f"{word} names no level: leave out the = or name some")
        asked[name] = listed or None
    return asked


def _with_auto(lever: str, offers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if lever != "attention":
        return list(offers)
    auto = {"name": AUTO, "available": True, "reason": "", "remedy": ""}
    return [auto, *offers]


def _reason(offer: Mapping[str, Any]) -> str:
    return "; ".join(str(offer[key]) for key in ("reason", "remedy") if offer.get(key))


def _not_by_default(lever: str, offer: Mapping[str, Any], objective: str) -> str:
    """Why a level is only tried where it is asked for by name; empty where it is tried."""
    name = offer["name"]
    if name in AS_IT_IS:
        return "it leaves all as it is"
    if (
        lever == "attention"
        and name.removeprefix("forge:") in SLOW_BY_DESIGN
        and objective != SAVES_MEMORY
    ):
        return "slow by design; ask for it by name"
    if lever == "weights":
        if name in PLAIN:
            return "no quantized format; ask for it by name"
        if name in NEEDS_CALIBRATION:
            return "it needs a calibration of this model"
        if not offer.get("native") and objective != SAVES_MEMORY:
            return "it saves memory and no time here; ask for it by name"
    if lever == "compile" and name not in DEFAULT_COMPILE:
        return "it compiles for many minutes; ask for it by name"
    return ""
