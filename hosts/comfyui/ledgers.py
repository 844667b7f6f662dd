"""Ledgers of kernel calls that ride on a MODEL, so that whoever measures it can read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ...records import KernelCalls

KEY = "wattbench_ledgers"


class Ledger(Protocol):
    """Counts which kernels ran since it was cleared."""

    def clear(self) -> None: ...

    def read(self) -> list[KernelCalls]: ...


@dataclass(frozen=True)
class Ledgers:
    """The ledgers of one MODEL by name. Immutable: a clone's addition does not reach its origin."""

    by_name: tuple[tuple[str, Ledger], ...] = ()

    def clear(self) -> None:
        for _, ledger in self.by_name:
            ledger.clear()

    def read(self) -> list[KernelCalls]:
        return [calls for _, ledger in self.by_name for calls in ledger.read()]


def attach_ledger(model: Any, name: str, ledger: Ledger) -> None:
    """Let ``ledger`` be read with every measured sampling of ``model`` and of its clones.

    A ledger of the same name is replaced.
    """
    others = tuple(item for item in ledgers_of(model).by_name if item[0] != name)
    model.set_attachments(KEY, Ledgers((*others, (name, ledger))))


def ledgers_of(model: Any) -> Ledgers:
    attached = model.get_attachment(KEY)
    return attached if attached is not None else Ledgers()
