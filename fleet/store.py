"""The folder of a fleet's study: what came from each card, checked, and the tables of all.

``fleet.json`` names the study, ``cards/NAME/`` is what a card's machine has of it. A card's folder
is one that ``wattbench merge`` takes, so that one brought by hand is worth the same.
"""

from __future__ import annotations

import hashlib
import json
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import UsageError
from ..incoming import IncomingError, read_json
from ..measure.meters.identity import uuid_key
from ..measure.protocol.journal import read
from ..records import Run
from ..report.export import RAW_FILE
from ..sharing.verify import verify
from ..study.visits import JOURNAL, read_visits
from ..tables.files import write_bytes, write_text
from .cards import Card
from .parcel import Parcel
from .worker import FILES, Packed

STUDY_FILE, CARD_FILE = "fleet.json", "card.json"
CARDS = "cards"
MAX_STUDY_BYTES = 2**20


class PulledError(ValueError):
    """What a card sent is not what it says, or not what was asked for; the message says why."""


@dataclass(frozen=True)
class Store:
    """The folder of a study."""

    folder: Path
    study: str

    @classmethod
    def at(cls, folder: Path, parcel: Parcel, resume: bool) -> Store:
        """A study begun here, or the one that ``folder`` holds.

        Raises:
            UsageError: it holds a study and ``resume`` was not asked for, or one of another plan.
        """
        path = folder / STUDY_FILE
        if not path.exists():
            study = f"{Path(parcel.name).stem[:40]}-{uuid.uuid4().hex[:12]}"
            facts = {"study": study, "plan": parcel.name, "fingerprint": parcel.fingerprint}
            write_text(json.dumps(facts), path)
            return cls(folder, study)
        try:
            facts = read_json(path, MAX_STUDY_BYTES)
            known = str(facts["fingerprint"]), str(facts["study"])
        except (IncomingError, KeyError, TypeError) as error:
            raise UsageError(f"{path} is no fleet's: {error}. Name another folder") from error
        if known[0] != parcel.fingerprint:
            raise UsageError(
                f"this is not the plan that {folder} was begun with (it was {facts.get('plan')}, "
                f"{known[0]}, and this is {parcel.name}, {parcel.fingerprint}). Put it back as it "
                "was, or begin anew in another folder"
            )
        if not resume:
            raise UsageError(
                f"{folder} holds a fleet's study already: go on with it by --resume, or name "
                "another folder"
            )
        return cls(folder, known[1])

    def folder_of(self, card: Card) -> Path:
        return self.folder / CARDS / card.key

    def cards(self) -> dict[str, Path]:
        """The folders of cards that have sent runs, by their keys."""
        found = sorted((self.folder / CARDS).glob(f"*/{RAW_FILE}"))
        return {path.parent.name: path.parent for path in found}

    def blocks_of(self, card: Card) -> int:
        """How many blocks of a card have begun, by what it has sent."""
        made = read_visits(self.folder_of(card) / JOURNAL).made
        return max((visit.block + 1 for visit in made), default=0)

    def keep(self, card: Card, files: Mapping[str, Packed]) -> int:
        """Check what a card has sent and put it into its folder; how many visits are new.

        Raises:
            PulledError: it is refused, and what was there before stays.
        """
        contents = {name: _unpacked(name, packed) for name, packed in files.items()}
        if JOURNAL not in contents:
            raise PulledError("no journal came")
        folder = self.folder_of(card)
        before = len(read_visits(folder / JOURNAL).made)
        staged = write_bytes(contents[JOURNAL], folder / f".{JOURNAL}")
        try:
            made = read_visits(staged).made
        except UsageError as error:
            raise PulledError(str(error)) from error
        finally:
            staged.unlink(missing_ok=True)
        if before:
            old = (folder / JOURNAL).read_bytes()
            if not contents[JOURNAL].startswith(old):
                raise PulledError("its journal is no longer the one that it had begun with")
        _check_runs([run for visit in made for run in visit.runs], contents.get(RAW_FILE), card)
        for name, content in contents.items():
            write_bytes(content, folder / name)
        write_text(json.dumps(asdict(card)), folder / CARD_FILE)
        return len(made) - before


def _unpacked(name: str, packed: Packed) -> bytes:
    if name not in FILES:
        raise PulledError(f"it sent a file that nobody asked for: {name!r}")
    try:
        content = zlib.decompress(packed.data)
    except zlib.error as error:
        raise PulledError(f"{name} came damaged: {error}") from error
    if hashlib.sha256(content).hexdigest() != packed.sha256:
        raise PulledError(f"{name} came damaged: its SHA-256 is another one")
    return content


def _check_runs(runs: list[Run], raw: bytes | None, card: Card) -> None:
    """Raise PulledError where runs are not of the card, or do not follow from their samples."""
    elsewhere = {
        run.environment.gpu_name or run.environment.cpu_name
        for run in runs
        if card.uuid and uuid_key(run.environment.gpu_uuid) != uuid_key(card.uuid)
    }
    if elsewhere:
        raise PulledError(f"it was measured on another card: {', '.join(sorted(elsewhere))}")
    faults = verify(runs).faults
    if faults:
        raise PulledError(f"its numbers do not follow from each other: {faults[0]}")
    if raw is None:
        if runs:
            raise PulledError(f"no {RAW_FILE} came with the journal")
        return
    contents = read(raw)
    if contents.left_out:
        line, reason = contents.left_out[0]
        raise PulledError(f"{RAW_FILE}, line {line}: {reason}")
    known = {run.run_id: run for run in runs}
    for run in contents.runs:
        own = known.pop(run.run_id, None)
        # What was found of pictures is added once all are there.
        if own is None or replace(run, picture=own.picture) != own:
            raise PulledError(f"{RAW_FILE} and the journal say other things of run {run.run_id}")
    if known:
        raise PulledError(f"{RAW_FILE} lacks run {next(iter(known))} of the journal")
