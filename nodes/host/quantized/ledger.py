"""How often each layer's product was computed, and by what arithmetic."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from ....measure.records import KernelCalls
from ....quant.base import Execution
from ..ledgers import ledgers_of

KEY = "linear"
"""The name under which the ledger rides on a MODEL; see :mod:`..ledgers`."""


@dataclass(frozen=True)
class LayerCalls:
    """The calls of one layer that were executed in one way.

    ``requested`` is the name of a format, or of a dtype for a layer that stays as it is.
    """

    layer: str
    requested: str
    execution: Execution
    call_count: int


class LinearLedger:
    """Counts the products of one model's linear layers since it was cleared.

    Calls within a graph of torch.compile are not counted: counting would break the graph.
    """

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[tuple[str, Execution]]] = defaultdict(Counter)

    def count(self, layer: str, requested: str, execution: Execution) -> None:
        self._counts[layer][requested, execution] += 1

    def clear(self) -> None:
        self._counts.clear()

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
        return [
            KernelCalls("linear", requested, str(execution), n, reason=execution.reason)
            for (requested, execution), n in sums.items()
        ]


def linear_ledger(model: Any) -> LinearLedger | None:
    """The ledger of a MODEL with quantized weights; ``None`` for any other."""
    for name, ledger in ledgers_of(model).by_name:
        if name == KEY and isinstance(ledger, LinearLedger):
            return ledger
    return None
