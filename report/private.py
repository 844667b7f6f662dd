"""Tables that may be shown to others: no host, user, path, address or serial number in them."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..analysis.columns import TEXT_COLUMNS
from ..tables.text import printable

if TYPE_CHECKING:
    import pandas as pd

PSEUDONYMS = {"gpu_uuid": "card", "process_id": "process"}
"""Columns whose values tell machines apart: each value becomes a word with a number, so that runs
of two cards stay apart."""

FILES = r"[^\s/\\:'\"<>|]+\.(?:safetensors|sft|ckpt|gguf|pth?|bin|json|png|py|so|dll|csv|jsonl)"
BEGIN = r"(?:~?/|~\\|[A-Za-z]:[\\/]|\\\\)"
WORD = r"[^\s'\";,:<>|()\[\]]"
PATH = re.compile(
    rf"(?P<quote>['\"]){BEGIN}[^'\"\n]*(?P=quote)"
    rf"|(?<![\w.~:\\/)\]])(?!(?<=<)/\w+>){BEGIN}{WORD}+(?: {WORD}*[\\/]{WORD}*)*"
    rf"|(?<=:){BEGIN}{WORD}+(?: {WORD}*[\\/]{WORD}*)*"
)
HEX = "[0-9a-fA-F]"
ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)*"
    r"|(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.]*\d)"
    rf"|(?<![\w:])(?:{HEX}{{1,4}}:){{3,7}}{HEX}{{1,4}}(?![\w:])"
    rf"|(?<![\w:])(?:{HEX}{{1,4}}(?::{HEX}{{1,4}})*)?::(?:{HEX}{{1,4}}:)*{HEX}{{1,4}}(?![\w:])"
)
SERIAL = re.compile(rf"\b(?:GPU-|MIG-)?{HEX}{{8}}-(?:{HEX}{{4}}-){{3}}{HEX}{{12}}\b")
LEAST_NAME = 3
"""A host or user of fewer letters is no word to search for."""


def without_identity(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of runs whose text tells what ran and how, and not where or by whom.

    Runs that differ stay different: condition ids are kept, cards and processes get numbers.
    """
    changes = {}
    numbers: dict[str, str] = {}
    for column, word in PSEUDONYMS.items():
        values = [value for value in frame[column].unique() if value]
        own = {value: f"{word} {n}" for n, value in enumerate(values, 1)}
        changes[column] = frame[column].map({"": "", **own})
        numbers |= own
    # Short ones could be part of a word that means something else.
    scrub = scrubber({k: v for k, v in numbers.items() if len(k) > len("GPU-12")})
    for column in TEXT_COLUMNS:
        if column not in (*PSEUDONYMS, "run_id"):
            told = {text: scrub(text) for text in frame[column].unique()}
            if any(text != clean for text, clean in told.items()):
                changes[column] = frame[column].map(told)
    return frame.assign(**changes)


def scrubber(
    known: dict[str, str] | None = None, *, with_own_names: bool = True
) -> Callable[[str], str]:
    """A function that takes from a text what names a person, a machine or a place on it.

    Paths become ``[path]``, or their last part where that is a file of a kind that is told by its
    name; addresses, serial numbers, this machine's name and user become words, the last two only
    ``with_own_names``. ``known`` are other texts to replace.
    """
    own = {socket.gethostname(): "[host]", _user(): "[user]"} if with_own_names else {}
    replaced = {name: word for name, word in own.items() if len(name) >= LEAST_NAME}
    replaced |= known or {}
    names = "|".join(re.escape(name) for name in sorted(replaced, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{names})(?!\w)" if names else r"(?!)")

    def scrub(text: str) -> str:
        found = ADDRESS.sub("[address]", printable(text))
        found = PATH.sub(_file_of, found)
        found = SERIAL.sub("[serial number]", found)
        return pattern.sub(lambda match: replaced[match[0]], found)

    return scrub


def _file_of(match: re.Match[str]) -> str:
    name = re.search(rf"(?:^|[\\/])({FILES})['\"]?$", match[0])
    return name[1] if name else "[path]"


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""
