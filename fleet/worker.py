"""One visit-block of one card, on the machine of the card: ``wattbench matrix`` in a child.

What it measured is in a folder here; it comes back whole each time, so that whoever asked may have
lost everything. The same assignment twice measures nothing twice: the journal goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import UsageError
from ..hosts.remote.places import user_data_folder
from ..incoming import IncomingError, check_name, read_file
from ..measure.protocol.journal import MAX_JOURNAL_BYTES
from ..processes.children import clean_environment, module_command, run
from ..report.export import RAW_FILE
from ..report.folder import CELLS_FILE
from ..study.visits import JOURNAL
from .cards import MASK, Card, Machine, mismatch, this_machine
from .parcel import Parcel

HOME_VARIABLE = "WATTBENCH_FLEET_HOME"
WORKFLOWS = Path(__file__).parents[1] / "workflows"
FILES = (JOURNAL, RAW_FILE, CELLS_FILE)
"""What comes back: the journal, its runs with what was found of their pictures, the cells."""

MATRIX = tuple(module_command("wattbench", "matrix"))
MOST_TOLD = 2000
"""Letters of a failed matrix's last words."""


@dataclass(frozen=True)
class Assignment:
    """A card and a block of visits; ``block`` counts from 1.

    ``beside`` are the cards of the same machine that measure at the same time; ``options`` and
    ``comfyui_arguments`` are those of ``wattbench matrix``.
    """

    study: str
    sender: Machine
    parcel: Parcel
    card: Card
    block: int
    workloads: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    comfyui_arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Packed:
    """A file, compressed, with the SHA-256 of its content."""

    sha256: str
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, content: bytes) -> Packed:
        return cls(hashlib.sha256(content).hexdigest(), zlib.compress(content, 1))


@dataclass(frozen=True)
class Outcome:
    """What came of an assignment.

    ``block``: measured, and more may follow; ``over``: nothing of the plan is left; ``failed``:
    see ``reason``; ``refused``: it will never do here. ``duration_s`` is the matrix's own.
    """

    status: Literal["block", "over", "failed", "refused"]
    reason: str = ""
    files: Mapping[str, Packed] = field(default_factory=dict)
    duration_s: float = 0.0


def default_home() -> Path:
    """Where this machine keeps what it measured for fleets."""
    given = os.environ.get(HOME_VARIABLE)
    return Path(given) if given else user_data_folder() / "wattbench" / "fleet"


def work(assignment: Assignment, matrix: Sequence[str] = MATRIX) -> Outcome:
    """Carry out an assignment; ``matrix`` is what runs ``wattbench matrix``."""
    card = assignment.card
    refused = mismatch(this_machine(), assignment.sender)
    if refused:
        return Outcome("refused", refused)
    try:
        folder = default_home() / "studies" / check_name(assignment.study) / check_name(card.key)
        plan = assignment.parcel.unpack(folder / "plan", WORKFLOWS)
    except (UsageError, IncomingError) as error:
        return Outcome("refused", str(error))
    out = folder / "results"
    began_s = time.monotonic()
    done = run([*matrix, *_arguments(assignment, plan, out)], _environment(card))
    duration_s = time.monotonic() - began_s
    ends = [event for event in _events(done.stdout) if event.get("event") == "end"]
    is_over = ends[-1]["over"] if ends else None
    if is_over is None:
        words = (done.stderr or done.stdout).strip()[-MOST_TOLD:]
        reason = f"wattbench matrix ended with code {done.returncode}: {words}"
        return Outcome("failed", reason, _packed(out), duration_s)
    return Outcome("over" if is_over else "block", "", _packed(out), duration_s)


def _arguments(assignment: Assignment, plan: Path, out: Path) -> list[str]:
    card = assignment.card
    words = [str(plan), "--out", str(out), "--resume", "--json"]
    words += ["--last-block", str(assignment.block)]
    for workload in assignment.workloads:
        words += ["--workload", workload]
    for other in assignment.beside:
        words += ["--beside", other]
    if card.board:
        words += ["--gpu", card.board]
    return [*words, *assignment.options, "--", *assignment.comfyui_arguments]


def _environment(card: Card) -> dict[str, str]:
    """That of a matrix which sees its card alone, and nothing of Ray, whose token is not for it."""
    environment = {
        name: value for name, value in clean_environment().items() if not name.startswith("RAY_")
    }
    if card.uuid:
        environment[MASK] = card.uuid
    return environment


def _events(text: str) -> list[dict[str, object]]:
    found = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found


def _packed(out: Path) -> dict[str, Packed]:
    found = {}
    for name in FILES:
        if (out / name).is_file():
            found[name] = Packed.of(read_file(out / name, MAX_JOURNAL_BYTES))
    return found
