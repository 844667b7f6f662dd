"""Whether torch compiled a model while something was measured: then its time is not the model's."""

from __future__ import annotations

import sys

COMPILED = "a model was compiled meanwhile"


def compiled_graphs() -> int:
    """Graphs that torch.compile has made in this process, whoever asked for it."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return 0 if dynamo is None else int(dynamo.counters["stats"]["unique_graphs"])
