"""Models whose weights are quantized: loaded from a file, or made from a MODEL that is there."""

from __future__ import annotations

from .files import NO_FILE, model_files, new_model_path, path_of, save_model, text_encoder_files
from .ledger import LayerCalls, LinearLedger, linear_ledger
from .loading import load_model, quantize_model
from .preparation import AS_STORED, COMPUTE_DTYPES, Request
from .text_encoders import TEXT_FORMATS, load_clip

__all__ = [
    "AS_STORED",
    "COMPUTE_DTYPES",
    "NO_FILE",
    "TEXT_FORMATS",
    "LayerCalls",
    "LinearLedger",
    "Request",
    "linear_ledger",
    "load_clip",
    "load_model",
    "model_files",
    "new_model_path",
    "path_of",
    "quantize_model",
    "save_model",
    "text_encoder_files",
]
