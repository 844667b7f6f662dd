"""Model files, read as state dicts: safetensors and GGUF, never pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.utils
import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from ....quant.base import CONFIG, encode_config
from ....quant.formats.gguf import of_type
from ....quant.ggml import BLOCK_TYPES
from ....quant.layers import is_table

SAFETENSORS = (".safetensors", ".sft")
GGUF = ".gguf"


class ModelFileError(ValueError):
    """A model file that cannot be read; the message says why and what to do."""


def read_tensors(path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors and metadata of a file; those of safetensors stay on disk until they are used.

    Raises:
        ModelFileError: the file is of another kind, truncated or malformed.
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
        ModelFileError: the file is malformed or truncated, or the package gguf is missing.
    """
    try:
        import gguf
    except ImportError as error:
        raise ModelFileError(
            "GGUF files need the package gguf: pip install gguf, then start ComfyUI anew."
        ) from error
    try:
        reader = gguf.GGUFReader(path)
        tensors: dict[str, Any] = {}
        for item in reader.tensors:
            tensors |= _gguf_tensor(reader, item)
    except (ValueError, IndexError, KeyError) as error:
        raise ModelFileError(
            f"{Path(path).name} is no whole GGUF file ({error}). It may have been copied or "
            "downloaded in part: fetch it again."
        ) from error
    return tensors


def _gguf_tensor(reader: Any, item: Any) -> dict[str, Any]:
    """One tensor under its name; ``orig_shape`` is what ComfyUI-GGUF notes of reshaped ones."""
    from gguf.quants import dequantize

    shape = tuple(int(size) for size in reversed(item.shape))
    original = reader.get_field(f"comfy.gguf.orig_shape.{item.name}")
    if original is not None:
        shape = tuple(int(original.parts[part][0]) for part in original.data)
    name, kind = item.name.removesuffix(".weight"), item.tensor_type.name
    if kind in BLOCK_TYPES and len(shape) == 2 and name != item.name and not is_table(name):
        config = encode_config(of_type(kind).config(shape))
        data = torch.from_numpy(np.array(item.data).reshape(shape[0], -1))
        return {item.name: data, f"{name}.{CONFIG}": config}
    if kind in ("F32", "F16"):
        return {item.name: torch.from_numpy(np.array(item.data)).reshape(shape)}
    wide = torch.from_numpy(dequantize(item.data, item.tensor_type)).reshape(shape)
    return {item.name: wide.to(torch.bfloat16)}
