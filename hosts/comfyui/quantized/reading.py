"""Model files, read as state dicts: safetensors and GGUF, never pickles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.utils
import torch

from ....quant.base import CONFIG, encode_config
from ....quant.gguf_files import GgufFile
from ....quant.inventory import HEADER_KEY, OLD_MARK, layers_of, model_prefix, open_weights
from ....quant.layers import is_table
from ....quant.stored import StoredLayer

StateDict = dict[str, Any]


@dataclass(frozen=True)
class Held:
    """What a file holds.

    ``tensors`` have ComfyUI's names for what belongs to a quantized layer, whose configuration is
    under ``comfy_quant``, and the file's for all else; ``layers`` are the quantized ones, by name
    with prefix.
    """

    name: str
    tensors: StateDict
    metadata: dict[str, str]
    layers: Mapping[str, StoredLayer]

    def logical(self) -> StateDict:
        """``tensors`` as ComfyUI's detection is to see them.

        In place of a quantized weight is one without numbers, of the shape that it computes with.
        """
        blanks = {
            f"{name}.weight": torch.empty(layer.shape, dtype=torch.bfloat16, device="meta")
            for name, layer in self.layers.items()
        }
        return {**self.tensors, **blanks}


def read_file(path: str, prefix: str | None = None) -> Held:
    """The tensors of a file; those of safetensors stay on disk until they are used.

    Of a GGUF file matrices are as stored, with their configuration, and the rest is widened.

    Args:
        prefix: of the names of the layers; ``None`` finds that of the diffusion model.

    Raises:
        FileError: the file is a pickle, of another kind, truncated or malformed, or quantized in a
            way that neither ComfyUI nor we read; or the package gguf is missing.
        OSError: it cannot be opened.
    """
    with open_weights(Path(path)) as file:
        if prefix is None:
            prefix = model_prefix(file.entries)
        layers = {prefix + layer.name: layer for layer in layers_of(file, prefix)}
        quantized = {name: layer for name, layer in layers.items() if layer.config}
        if isinstance(file, GgufFile):
            return _in_blocks(file, quantized)
    tensors, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    for name, layer in quantized.items():
        stored = {role: tensors.pop(entry.name) for role, entry in layer.tensors.items()}
        stored[CONFIG] = encode_config(layer.config)
        for role, tensor in layer.arranged(stored).items():
            tensors[f"{name}.{role}"] = tensor
        tensors.pop(f"{name}.scale_input", None)
    for mark in (OLD_MARK, prefix + OLD_MARK):
        tensors.pop(mark, None)
    kept = {key: text for key, text in (metadata or {}).items() if key != HEADER_KEY}
    return Held(Path(path).name, tensors, kept, quantized)


def _in_blocks(file: GgufFile, layers: Mapping[str, StoredLayer]) -> Held:
    quantized = {name: layer for name, layer in layers.items() if not is_table(layer.name)}
    widened = {f"{name}.weight": layer for name, layer in layers.items() if name not in quantized}
    tensors: StateDict = {}
    for name in file.entries:
        if name in widened:
            tensors[name] = widened[name].weight(file, torch.bfloat16)
        else:
            tensors[name] = _plain(file, name)
    for name, layer in quantized.items():
        tensors[f"{name}.{CONFIG}"] = encode_config(layer.config)
    return Held(file.path.name, tensors, {}, quantized)


def _plain(file: GgufFile, name: str) -> torch.Tensor:
    """A tensor as it is, in blocks or in plain numbers; what had to be widened is bf16."""
    tensor = file.read(name)
    is_as_stored = file.is_in_blocks(name) or not file.entries[name].dtype.startswith("gguf:")
    return tensor if is_as_stored else tensor.to(torch.bfloat16)
