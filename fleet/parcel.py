"""A plan as it goes to other machines: its text, its workflows, and hashes of what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import UsageError
from ..incoming import IncomingError, read_text, resolve
from ..records import short_hash
from ..study.plan import MAX_PLAN_BYTES, Plan, read_plan
from ..tables.files import write_text

MAX_WORKFLOW_BYTES = 2**26


@dataclass(frozen=True)
class Parcel:
    """``files`` are the workflows that lie beside the plan, by their paths from there.

    ``hashes`` are those of all workflows' texts by workload, of shipped ones too.
    """

    name: str
    text: str
    files: Mapping[str, str]
    hashes: Mapping[str, str]

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for the plan and its workflows."""
        return short_hash([self.text, sorted(self.hashes.items())], 16)

    def unpack(self, folder: Path, shipped: Path) -> Path:
        """Write it below ``folder``; returns the plan's path.

        Raises:
            UsageError: a workflow is another one on this machine, or a name leads elsewhere.
        """
        try:
            for name, text in {self.name: self.text, **self.files}.items():
                target = resolve(name, [folder])
                target.parent.mkdir(parents=True, exist_ok=True)
                write_text(text, target)
            path = resolve(self.name, [folder])
        except IncomingError as error:
            raise UsageError(str(error)) from error
        plan, own = pack(path, shipped)
        other = [name for name, digest in self.hashes.items() if own.hashes.get(name) != digest]
        if other or own.fingerprint != self.fingerprint:
            what = f"the workflow of {', '.join(other)}" if other else "its text"
            raise UsageError(
                f"the plan {plan.name} is another one here: {what} differs. Install the same "
                "WattBench, or put the workflow beside the plan"
            )
        return path


def pack(path: Path, shipped: Path) -> tuple[Plan, Parcel]:
    """A plan's file as a plan and as a parcel; ``shipped`` is the folder of shipped workflows.

    Raises:
        UsageError: it is no plan, or a workflow lies neither beside it nor among the shipped ones.
    """
    plan = read_plan(path, shipped)
    folder, known = path.resolve().parent, shipped.resolve()
    files, hashes = {}, {}
    try:
        text = read_text(path, MAX_PLAN_BYTES)
        for workload in plan.workloads:
            content = read_text(workload.workflow, MAX_WORKFLOW_BYTES)
            hashes[workload.name] = short_hash(content, 16)
            if workload.workflow.is_relative_to(known):
                continue
            if not workload.workflow.is_relative_to(folder):
                raise UsageError(
                    f"{workload.workflow} lies elsewhere than the plan, so that no other machine "
                    f"finds it: put it into {folder}"
                )
            files[workload.workflow.relative_to(folder).as_posix()] = content
    except IncomingError as error:
        raise UsageError(str(error)) from error
    return plan, Parcel(path.name, text, files, hashes)
