"""How often each layer's product was computed, and by what arithmetic."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch._guards import CompileContext, TraceId

from ....quant.base import Execution
from ....records import KernelCalls
from ..ledgers import attach_ledger, ledgers_of

KEY = "linear"
"""The name under which the ledger rides on a MODEL; see :mod:`..ledgers`."""

NOT_SEEN = "not seen"
NOT_SEEN_REASON = "torch.compile runs it, if at all, in a graph that it traced for another layer"


@dataclass(frozen=True)
class LayerCalls:
    """The calls of one layer that were executed in one way.

    ``requested`` is the name of a format, or of a dtype for a layer that stays as it is.
    """

    layer: str
    requested: str
    execution: Execution
    call_count: int


@dataclass
class _Traced:
    """What torch.compile found of one layer in its last attempt to trace it."""

    trace: TraceId | None
    products: Counter[tuple[str, Execution]] = field(default_factory=Counter)


class LinearLedger:
    """Counts the products of one model's linear layers since it was cleared.

    A graph of torch.compile runs no Python that could count. Its products are noted while it is
    traced, and counted whenever an evaluation of the model ends in which the layer did not count
    itself; for that :func:`ride` puts :meth:`evaluate` around each evaluation. A graph of one
    block, which torch may use for all blocks alike, is traced for the first: the others are not
    seen.

    ``owner`` stands before every name that is read, as ``text`` of a text encoder.
    """

    def __init__(self, owner: str = "") -> None:
        self.node_id = ""
        self._owner = owner
        self._formats: dict[str, str] = {}
        self._counts: defaultdict[str, Counter[tuple[str, Execution]]] = defaultdict(Counter)
        self._traced: dict[str, _Traced] = {}
        self._counted: set[str] = set()
        self._not_seen: Counter[str] = Counter()

    def expect(self, layer: str, requested: str) -> None:
        """``layer`` was loaded in the format ``requested``."""
        self._formats[layer] = requested

    def count(self, layer: str, requested: str, execution: Execution) -> None:
        """A product runs."""
        self._counts[layer][requested, execution] += 1
        self._counted.add(layer)

    def trace(self, layer: str, requested: str, execution: Execution) -> None:
        """A product becomes part of a graph. An attempt begun anew begins its notes anew."""
        trace = CompileContext.current_trace_id()
        if layer not in self._traced or self._traced[layer].trace != trace:
            self._traced[layer] = _Traced(trace)
        self._traced[layer].products[requested, execution] += 1

    def evaluate(self, executor: Any, *args: Any, **kw: Any) -> Any:
        """One evaluation of the model, by ``executor``, and its products."""
        self._counted.clear()
        result = executor(*args, **kw)
        in_graphs = [layer for layer in self._traced if layer not in self._counted]
        for layer in in_graphs:
            self._counts[layer].update(self._traced[layer].products)
        if in_graphs:
            seen = self._traced.keys() | self._counted
            self._not_seen.update(f for layer, f in self._formats.items() if layer not in seen)
        return result

    def clear(self) -> None:
        self._counts.clear()
        self._not_seen.clear()

    def layer_calls(self) -> list[LayerCalls]:
        """The calls of each layer, in the order in which the layers first ran."""
        return [
            LayerCalls(layer, requested, execution, n)
            for layer, counted in self._counts.items()
            for (requested, execution), n in counted.items()
        ]

    def read(self) -> list[KernelCalls]:
        """The calls of all layers, by what was requested and what was executed."""
        sums: Counter[tuple[str, Execution]] = Counter()
        for counted in self._counts.values():
            sums.update(counted)
        seen = [
            self._named(requested, str(execution), n, execution.reason)
            for (requested, execution), n in sums.items()
        ]
        return seen + [
            self._named(requested, NOT_SEEN, n, NOT_SEEN_REASON)
            for requested, n in self._not_seen.items()
        ]

    def _named(self, requested: str, executed: str, count: int, reason: str) -> KernelCalls:
        requested, executed = (f"{self._owner} {name}".strip() for name in (requested, executed))
        return KernelCalls("linear", requested, executed, count, reason=reason)


def ride(model: Any, ledger: LinearLedger) -> None:
    """Let ``ledger``, into which the layers of ``model.model`` count, be read with its samplings.

    A clone that loads weights of its own, as one does that leaves dynamic VRAM, takes the ledger of
    those.
    """
    model.model.linear_ledger = ledger
    attach_ledger(model, KEY, ledger)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, _evaluate)
    model.add_callback_with_key(CallbacksMP.ON_CLONE, KEY, _follow)


def _evaluate(executor: Any, *args: Any, **kw: Any) -> Any:
    return executor.class_obj.linear_ledger.evaluate(executor, *args, **kw)


def _follow(model: Any, clone: Any) -> None:
    """A clone that is about to be quantized anew has no ledger yet."""
    if hasattr(clone.model, "linear_ledger"):
        attach_ledger(clone, KEY, clone.model.linear_ledger)


def linear_ledger(model: Any) -> LinearLedger | None:
    """The ledger of a MODEL with quantized weights; ``None`` for any other."""
    for name, ledger in ledgers_of(model).by_name:
        if name == KEY and isinstance(ledger, LinearLedger):
            return ledger
    return None
