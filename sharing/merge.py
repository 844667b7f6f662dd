"""Runs of several folders and bundles as one: each run once, and none that two sources tell apart.

Merging the same again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..incoming import read_file
from ..measure.protocol.journal import MAX_JOURNAL_BYTES, read
from ..records import Run
from ..report.export import RAW_FILE
from ..report.private import scrubber
from .bundle import read_bundle
from .shareable import shareable

JOURNALS = (RAW_FILE, "journal.jsonl")


class MergeError(ValueError):
    """A source cannot be read, or two say other things of one run."""


@dataclass(frozen=True)
class Source:
    """A folder or bundle with its runs; ``remarks`` tell what of a journal was left out."""

    path: Path
    runs: tuple[Run, ...]
    remarks: tuple[str, ...] = ()


def source_of(path: Path) -> Source:
    """The runs of a folder of results, a journal, or a bundle.

    Raises:
        MergeError: it is none of them.
        BundleError: it is a bundle that was changed.
        IncomingError: a file cannot be read.
    """
    journal = _journal_in(path) if path.is_dir() else path
    if journal.suffix != ".jsonl":
        return Source(path, read_bundle(path).runs)
    contents = read(read_file(journal, MAX_JOURNAL_BYTES))
    if contents.left_out and not contents.runs:
        line, reason = contents.left_out[0]
        raise MergeError(f"{journal} holds no run that can be read: line {line}: {reason}")
    remarks = [f"{journal}: line {line} is left out: {why}" for line, why in contents.left_out]
    return Source(path, contents.runs, tuple(remarks))


def merged(sources: Sequence[Source]) -> list[Run]:
    """The runs of all sources, by the time they began; of one run, the one that tells most counts.

    Those of a study stay together, and its cells keep their order: its plan says what is compared.

    Raises:
        MergeError: two sources say other things of one run.
    """
    scrub = scrubber()
    found: dict[str, tuple[Run, Path]] = {}
    for source in sources:
        for run in source.runs:
            known = found.get(run.run_id)
            if known is None:
                found[run.run_id] = run, source.path
                continue
            earlier, place = known
            if earlier != run and shareable(earlier, scrub) != shareable(run, scrub):
                raise MergeError(
                    f"{place} and {source.path} say other things of run {run.run_id}: one of "
                    "them was changed. Verify both, and merge without the other"
                )
            # Of a run and its shareable form, the run itself.
            if earlier == shareable(run, scrub):
                found[run.run_id] = run, source.path
    return _ordered([run for run, _ in found.values()], sources)


def _ordered(runs: Sequence[Run], sources: Sequence[Source]) -> list[Run]:
    began: dict[str, str] = {}
    for run in runs:
        began[run.study] = min(run.started_at, began.get(run.study, run.started_at))
    cells: dict[tuple[str, str], int] = {}
    # The source that has most of a study has most of its plan's order.
    for source in sorted(sources, key=lambda source: -len(source.runs)):
        for run in source.runs:
            cells.setdefault((run.study, run.cell), len(cells))

    def place(run: Run) -> tuple[str, str, int, int, str, str]:
        if not run.study:
            return run.started_at, "", 0, 0, "", run.run_id
        cell = cells[run.study, run.cell]
        return began[run.study], run.study, cell, run.visit, run.started_at, run.run_id

    return sorted(runs, key=place)


def _journal_in(folder: Path) -> Path:
    for name in JOURNALS:
        if (folder / name).is_file():
            return folder / name
    raise MergeError(
        f"{folder} has neither {RAW_FILE} nor journal.jsonl: name a folder that `wattbench run` "
        "or Export CSV wrote, a journal, or a bundle"
    )
