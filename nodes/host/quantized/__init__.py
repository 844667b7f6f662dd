"""Models whose weights are quantized: loaded from a file, or made from a MODEL that is there."""

from __future__ import annotations

from .ledger import LayerCalls, LinearLedger, linear_ledger
from .loading import AS_STORED, COMPUTE_DTYPES, Request, load_model, quantize_model

__all__ = [
    "AS_STORED",
    "COMPUTE_DTYPES",
    "LayerCalls",
    "LinearLedger",
    "Request",
    "linear_ledger",
    "load_model",
    "quantize_model",
]
