"""Model files, read as state dicts: safetensors and GGUF, never pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.utils
from safetensors import SafetensorError, safe_open

SAFETENSORS = (".safetensors", ".sft")
GGUF = ".gguf"


class ModelFileError(ValueError):
    """A model file that cannot be read; the message says why and what to do."""


def read_tensors(path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors and metadata of a file; tensors stay on disk until they are used.

    Raises:
        ModelFileError: the file is of another kind, truncated or malformed.
        FileNotFoundError: there is none.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SAFETENSORS:
        raise ModelFileError(
            f"{Path(path).name} is no .safetensors file. Pickles (.ckpt, .pt, .bin) can run code "
            "when they are read, so they are refused: convert the file to safetensors first."
        )
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        raise ModelFileError(
            f"{Path(path).name} is no whole safetensors file ({error}). It may have been copied or "
            "downloaded in part: fetch it again."
        ) from error
    tensors, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    return tensors, metadata or {}
