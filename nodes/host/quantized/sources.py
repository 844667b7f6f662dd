"""Model files, read as state dicts: safetensors and GGUF, never pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.utils
import torch
from safetensors import SafetensorError, safe_open

from ....quant.base import CONFIG, encode_config
from ....quant.formats import find
from ....quant.gguf_files import SUFFIX as GGUF
from ....quant.gguf_files import GgufFile
from ....quant.layers import is_table

SAFETENSORS = (".safetensors", ".sft")


class ModelFileError(ValueError):
    """A model file that cannot be read; the message says why and what to do."""


def read_tensors(path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors and metadata of a file; those of safetensors stay on disk until they are used.

    Raises:
        ModelFileError: the file is of another kind, truncated or malformed.
        FileError: the same of a GGUF file.
        FileNotFoundError: there is none.
    """
    suffix = Path(path).suffix.lower()
    if suffix == GGUF:
        return read_gguf(path), {}
    if suffix not in SAFETENSORS:
        raise ModelFileError(
            f"{Path(path).name} is neither .safetensors nor .gguf. Pickles (.ckpt, .pt, .bin) can "
            "run code when they are read, so they are refused: convert the file to safetensors."
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


def read_gguf(path: str) -> dict[str, Any]:
    """The tensors of a GGUF file: matrices as stored, with their configuration; the rest widened.

    Raises:
        FileError: the file is malformed or truncated, or the package gguf is missing.
    """
    tensors: dict[str, Any] = {}
    with GgufFile(Path(path)) as file:
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
