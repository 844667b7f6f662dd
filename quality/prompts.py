"""Sets of prompts: shipped ones, and those of a user's file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..incoming import IncomingError, read_text
from ..records import short_hash

MAX_FILE_BYTES = 256 * 1024**2
"""COCO's largest file of captions has 92 MB."""

TEXT_KEYS = ("prompt", "caption", "text")
"""Under which a row of a CSV or a line of JSON holds its prompt, the first that is there."""


@dataclass(frozen=True)
class PromptSet:
    """Prompts that runs are made of, each with the same negative one.

    Raises:
        ValueError: there is no prompt in it.
    """

    name: str
    texts: tuple[str, ...]
    negative: str = ""

    def __post_init__(self) -> None:
        if not self.texts:
            raise ValueError(f"the set {self.name} holds no prompt")

    @property
    def label(self) -> str:
        """The name with a hash of all texts: sets of equal labels are equal."""
        return f"{self.name} {short_hash([*self.texts, self.negative], 8)}"

    def prompt_id(self, index: int) -> str:
        """What a run of one of the prompts has as its ``prompt``."""
        return prompt_id(self.texts[index], self.negative)

    def part(self, first: int, count: int) -> PromptSet:
        """``count`` prompts from ``first`` on, which goes round; 0: all of them."""
        size = len(self.texts)
        chosen = range(first, first + min(count or size, size))
        return PromptSet(self.name, tuple(self.texts[i % size] for i in chosen), self.negative)


def prompt_id(positive: str, negative: str) -> str:
    """A hash of the texts that a picture is made of."""
    return short_hash([positive, negative])


WATTBENCH_13 = PromptSet(
    "wattbench_13",
    (
        "portrait photo of a fisherman in his seventies, grey stubble, wool cap, window light",
        "close-up of a young woman with freckles laughing, hair across her face, outdoors at dusk",
        "two open hands holding a small green tree frog, shallow depth of field",
        "a pianist's hands on the keys seen from above, warm stage light",
        'a shop window with the words "FRESH BREAD" painted in gold letters on the glass',
        'a handwritten note on yellow paper that says "back at nine", pinned to a wooden door',
        "five red apples in a row on a white shelf, product photo",
        "three black cats and one white dog sitting on a stone stair",
        "macro photo of woven basket straw, even light, every fibre visible",
        "a knitted blanket with a diamond pattern in teal and ochre, flat lay",
        "a harbour town at night after rain, neon signs mirrored in wet cobbles, wide angle",
        "morning mist over terraced rice fields, a single farmer far away, aerial view",
        "isometric illustration of a tiny greenhouse laboratory with robots watering plants",
    ),
)
"""Portraits, hands, lettering, counting, texture, scenes and illustration; our own wording."""

EDGE_NODES = PromptSet(
    "edge_nodes",
    (
        "cute chibi-style plush moth character, designed as a small brown moth with oversized "
        "black eyes, holding a softly glowing light bulb. The character looks like a stitched "
        "plush toy, with visible seams and a fabric texture. Its wings are cream and brown with "
        "gentle patterns and small orange spots.",
    ),
)
"""The prompt that the study of heterogeneous edge nodes prints below its Figure 2."""

SETS = {one.name: one for one in (WATTBENCH_13, EDGE_NODES)}


def read_set(path: Path, negative: str = "") -> PromptSet:
    """The set of a file, named after it.

    ``.csv`` has a column ``prompt``, ``caption`` or ``text``; ``.jsonl`` a text or an object with
    such a key a line; ``.json`` is a file of captions as COCO has them, of which the first caption
    of each picture is taken, or a list of texts; any other has a prompt a line. Blank ones are left
    out.

    Raises:
        ValueError: the file cannot be read or holds no prompt; nothing of it is quoted.
    """
    text = read_text(path, MAX_FILE_BYTES)
    read = READERS.get(path.suffix.lower(), str.splitlines)
    try:
        found = [prompt.strip() for prompt in read(text)]
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, csv.Error) as error:
        raise IncomingError(
            f"{path.name} is no set of prompts: a CSV needs a column prompt, a line of .jsonl a "
            "text or an object with prompt, a .json COCO's annotations with image_id and caption"
        ) from error
    return PromptSet(path.stem, tuple(filter(None, found)), negative)


def _csv(text: str) -> list[str]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [_text_of(row) for row in rows]


def _json_lines(text: str) -> list[str]:
    values = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [value if isinstance(value, str) else _text_of(value) for value in values]


def _json(text: str) -> list[str]:
    data = json.loads(text)
    if isinstance(data, list):
        return [value if isinstance(value, str) else _text_of(value) for value in data]
    first: dict[Any, str] = {}
    for annotation in sorted(data["annotations"], key=lambda a: a.get("id", 0)):
        first.setdefault(annotation["image_id"], annotation["caption"])
    return list(first.values())


def _text_of(row: Mapping[str, Any]) -> str:
    lowered = {str(key).strip().lower(): value for key, value in row.items()}
    value = next((lowered[key] for key in TEXT_KEYS if key in lowered), lowered)
    if value is not None and not isinstance(value, str):
        raise TypeError("a row without a text")
    return value or ""


READERS: dict[str, Callable[[str], list[str]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
}
