"""The cards with published data, each with its law; and which of them a device is.

The laws were fitted beforehand, by :func:`write`, so that a forecast need not fit anything.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .calibration import (
    Calibration,
    as_json,
    card_and_software,
    edge_rows,
    from_json,
    published_card,
    published_law,
)
from .data import DATA, LawDataError
from .operators import OperatorLaw, Unit

CARDS_JSON = DATA / "operator_laws.json"

STUDY_NOTE = "from 280 published rows of one A100, idle power subtracted"

DEVICES = (
    (r"A100.*80GB.*", "A100"),
    (r"RTX 5090", "RTX 5090"),
    (r"RTX 3090", "RTX 3090"),
    (r"RTX 5070", "RTX 5070"),
    (r"RTX 3060 Laptop GPU", "RTX 3060M"),
    (r"(AMD )?Radeon (\(TM\) )?Pro VII", "Radeon Pro VII"),
)
"""Name that a driver gives (all of it, but for the maker's) to the card of the tables."""


@dataclass(frozen=True)
class Card:
    """Laws of one card: of joules, and perhaps of seconds. ``notes`` say what they rest on.

    ``emulated`` are those of the formats that the card has no arithmetic for, where known.
    """

    gpu: str
    laws: dict[Unit, OperatorLaw]
    notes: tuple[str, ...]
    emulated: dict[Unit, OperatorLaw] = field(default_factory=dict)

    @property
    def dtypes(self) -> frozenset[str]:
        """Formats that there are laws of."""
        return frozenset().union(
            *(laws["J"].domain.dtypes for laws in (self.laws, self.emulated) if laws)
        )

    def laws_of(self, dtype: str) -> dict[Unit, OperatorLaw]:
        """The laws that hold for runs in a format."""
        emulated = bool(self.emulated) and dtype in self.emulated["J"].domain.dtypes
        return self.emulated if emulated else self.laws


def card_named(gpu: str) -> Card:
    """The card of that name in the published tables.

    Raises:
        LawDataError: the tables do not have it.
    """
    written = json.loads(CARDS_JSON.read_text(encoding="utf-8"))
    gpu, _ = card_and_software(gpu)
    if gpu not in written:
        raise LawDataError(
            f"no published data of {gpu}; there are {', '.join(written)}. Measure a few runs and "
            "calibrate on them"
        )
    one = written[gpu]
    emulated = from_json(one["emulated"]) if "emulated" in one else {}
    return Card(gpu, from_json(one["laws"]), tuple(one["notes"]), emulated)


def card_of(device_name: str) -> Card:
    """The published card that a device is, by the name its driver gives.

    Raises:
        LawDataError: nothing was published of it.
    """
    bare = re.sub(r"^(NVIDIA )?(GeForce )?", "", device_name)
    for pattern, gpu in DEVICES:
        if re.fullmatch(pattern, bare):
            return card_named(gpu)
    raise LawDataError(
        f"there is no data of {device_name or 'this device'}: measure a few runs on it, make a "
        "calibration of them (wattbench law calibrate runs.csv --out card.json), and name it here"
    )


def fit_cards() -> dict[str, Calibration]:
    """The laws of all published cards, fitted to the tables; takes about a second."""
    published = published_law()
    others = dict.fromkeys(edge_rows()["gpu"])
    return {
        published.domain.gpu: Calibration(published, (STUDY_NOTE,)),
        **{gpu: published_card(gpu, published) for gpu in others},
    }


def write(path: Path = CARDS_JSON) -> None:
    """Fit all published cards and write them.

    Raises:
        OSError: the file cannot be written.
    """
    cards: dict[str, dict[str, Any]] = {}
    for gpu, card in fit_cards().items():
        cards[gpu] = {"laws": as_json({"J": card.law}), "notes": list(card.warnings)}
        if card.emulated is not None:
            cards[gpu]["emulated"] = as_json({"J": card.emulated})
    path.write_text(json.dumps(cards, indent=1) + "\n", encoding="utf-8")
