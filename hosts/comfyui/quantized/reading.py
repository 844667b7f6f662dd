"""Model files, read as state dicts: safetensors and GGUF, never pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.utils
import torch

from ....quant.base import CONFIG, encode_config
from ....quant.formats import find
from ....quant.gguf_files import GgufFile
from ....quant.layers import is_table
from ....quant.stored import check_readable, open_weights


def read_tensors(path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors and metadata of a file; those of safetensors stay on disk until they are used.

    Of a GGUF file matrices are as stored, with their configuration, and the rest is widened.

    Raises:
        FileError: the file is a pickle, of another kind, truncated or malformed, or quantized by a
            tool whose files ComfyUI does not read; or the package gguf is missing.
        OSError: it cannot be opened.
    """
    with open_weights(Path(path)) as file:
        if isinstance(file, GgufFile):
            return _in_blocks(file), {}
        check_readable(file)
    tensors, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    return tensors, metadata or {}


def _in_blocks(file: GgufFile) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for name, entry in file.entries.items():
        layer = name.removesuffix(".weight")
        if layer != name and file.is_in_blocks(name) and not is_table(layer):
            tensors[f"{layer}.{CONFIG}"] = encode_config({"format": entry.dtype})
            tensors[name] = file.read(name)
        else:
            tensors[name] = _plain(file, name)
    return tensors


def _plain(file: GgufFile, name: str) -> torch.Tensor:
    """A tensor as floats: those of 16 or 32 bits as they are, others in bf16."""
    entry, tensor = file.entries[name], file.read(name)
    if file.is_in_blocks(name):
        tensor = find(entry.dtype).dequantize({"weight": tensor}, torch.bfloat16)
    return tensor if entry.dtype in ("F32", "F16") else tensor.to(torch.bfloat16)
