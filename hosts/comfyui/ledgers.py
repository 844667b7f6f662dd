"""Ledgers of kernel calls that ride on a MODEL, so that whoever measures it can read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from comfy.patcher_extension import WrappersMP

from ...records import KernelCalls
from .fallbacks import tell_fallbacks
from .host import HOST

KEY = "wattbench_ledgers"


class Ledger(Protocol):
    """Counts which kernels ran since it was cleared; ``node_id`` is of the node that chose."""

    node_id: str

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

    A ledger of the same name is replaced. What fell back is told to the page after each sampling,
    on the node that is being executed now.
    """
    ledger.node_id = ledger.node_id or HOST.node_id()
    others = tuple(item for item in ledgers_of(model).by_name if item[0] != name)
    model.set_attachments(KEY, Ledgers((*others, (name, ledger))))
    model.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, KEY)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _tell)


def _tell(executor: Any, *args: Any, **kw: Any) -> Any:
    """A sampling, and a word to the page about what fell back in it."""
    result = executor(*args, **kw)
    for _, ledger in ledgers_of(executor.class_obj.model_patcher).by_name:
        tell_fallbacks(ledger.node_id, ledger.read())
    return result


def ledgers_of(model: Any) -> Ledgers:
    attached = model.get_attachment(KEY)
    return attached if attached is not None else Ledgers()
