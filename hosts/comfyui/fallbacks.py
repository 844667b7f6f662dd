"""A kernel or a format that was not what ran: told to the page, on the node that asked for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...records import KernelCalls
from .host import HOST
from .progress import send

EVENT = "wattbench_fallback"


class Told:
    """What fell back in the running prompt, by node."""

    def __init__(self) -> None:
        self.prompt_id = ""
        self.texts: dict[str, list[str]] = {}


def told_texts(calls: Iterable[KernelCalls]) -> list[str]:
    """Each kernel that ran in another one's place, and why, each once."""
    fallen = [c for c in calls if c.reason]
    texts = [f"{c.executed} ran in place of {c.requested}" for c in fallen]
    reasons = [c.reason for c in fallen]
    return list(dict.fromkeys(map(": ".join, zip(texts, reasons, strict=True))))


def tell_fallbacks(node_id: str, calls: Iterable[KernelCalls]) -> None:
    """Tell the page, where there is something to tell, once for each sampling."""
    texts = told_texts(calls)
    if not texts or not node_id:
        return
    told = HOST.kept(Told)
    if told.prompt_id != HOST.job_id():
        told.prompt_id, told.texts = HOST.job_id(), {}
    known = told.texts.setdefault(node_id, [])
    known.extend(text for text in texts if text not in known)
    send(EVENT, {"node_id": node_id, "texts": known})


def taken_fallbacks(prompt_id: str) -> list[dict[str, Any]]:
    """What fell back in a prompt that is over."""
    told = HOST.kept(Told)
    if told.prompt_id != prompt_id:
        return []
    return [{"node_id": node_id, "texts": texts} for node_id, texts in told.texts.items()]
