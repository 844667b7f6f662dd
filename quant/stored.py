"""What a safetensors file holds: which layers are quantized, how, and which part is the model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .base import CONFIG, Format, decode_config, encode_config
from .files import Entry, FileError, TensorFile
from .formats import FORMATS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WIDE = frozenset({"F64", "F32", "F16", "BF16"})
"""Types of weights that nothing has quantized."""

HEADER_KEY = "_quantization_metadata"
"""Where some files hold the configurations of all layers: in the header, ``{"layers": {…}}``."""

OLD_MARK = "scaled_fp8"
"""A tensor of this name marks ComfyUI's first layout of FP8 files; scales end in the following."""

OLD_SCALES = {"scale_weight": "weight_scale", "scale_input": "input_scale"}

SCALES = ("weight_scale", "weight_nested_scale", "weight_nested_offset", "input_scale")
"""Suffixes of what a quantized layer may hold beside ``weight`` and ``bias``."""

MODEL_PREFIXES = ("model.diffusion_model.", "model.model.", "net.")
"""How names of the diffusion model begin in a checkpoint, as ComfyUI's detection knows them."""

FEW = 5
"""So few names with a prefix are no model: ComfyUI's own limit."""


@dataclass(frozen=True)
class StoredLayer:
    """A layer's weight as a file holds it.

    ``name`` has no prefix. ``config`` is empty where the weight is not quantized; ``tensors`` are
    the entries of the file by suffix, in the names of :mod:`.base`.
    """

    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Entry]

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self.tensors.values())

    @property
    def format(self) -> Format | None:
        """The format of ours that reads it; ``None`` if none does."""
        same = [f for f in FORMATS if f.is_quantized and _marks(f.config((64, 64))) == self._marks]
        kin = [f for f in FORMATS if f.stock is not None and f.stock == self.config.get("format")]
        return next(iter(same + kin), None)

    @property
    def format_name(self) -> str:
        """Our name; for others ComfyUI's, or the weights' type, as ``nvfp4`` or ``F32``."""
        if not self.config:
            return self.tensors["weight"].dtype
        found = self.format
        if found is not None and _marks(found.config((64, 64))) == self._marks:
            return found.name
        return str(self.config["format"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight before it was stored: some formats put two numbers into a byte."""
        stored = self.tensors["weight"].shape
        if self.config and self.format is not None:
            twice = (stored[0], 2 * stored[-1])
            if self.format.stored_spec(twice)["weight"].shape == stored:
                return twice
        return stored

    @property
    def _marks(self) -> tuple[Any, ...]:
        return _marks(self.config)

    def read(self, file: TensorFile) -> dict[str, Tensor]:
        """Its tensors by suffix."""
        return {suffix: file.read(entry.name) for suffix, entry in self.tensors.items()}

    def weight(self, file: TensorFile, dtype: torch.dtype) -> Tensor:
        """The weight as it is computed with.

        Raises:
            FileError: no format of ours reads it.
        """
        stored = self.read(file)
        if not self.config:
            return stored["weight"].to(dtype)
        if self.format is None:
            raise FileError(f"{self.name} is stored as {self.format_name}: not readable")
        missing = [key for key in self.format.stored_spec(self.shape) if key not in stored]
        if missing:
            raise FileError(f"{self.name} is stored as {self.format_name} but has no {missing[0]}")
        return self.format.dequantize({CONFIG: encode_config(self.config), **stored}, dtype)


def model_prefix(names: Iterable[str]) -> str:
    """How the names of the diffusion model begin; empty where the file holds nothing else."""
    names = list(names)
    counts = {p: sum(name.startswith(p) for name in names) for p in MODEL_PREFIXES}
    most = max(counts, key=lambda prefix: counts[prefix])
    return most if counts[most] > FEW else ""


def layers_of(file: TensorFile, prefix: str) -> list[StoredLayer]:
    """The weights of two or more dimensions whose names begin with ``prefix``, in file order.

    Raises:
        FileError: the configuration of a layer cannot be read.
    """
    configs = _configs(file, prefix)
    layers = []
    for key, entry in file.entries.items():
        layer = key.removesuffix(".weight")
        if not key.startswith(prefix) or layer == key or len(entry.shape) < 2:
            continue
        tensors = {"weight": entry}
        for suffix in (*SCALES, CONFIG):
            found = file.entries.get(f"{layer}.{suffix}")
            if found is not None:
                tensors[suffix] = found
        for old, suffix in OLD_SCALES.items():
            found = file.entries.get(f"{layer}.{old}")
            if found is not None:
                tensors[suffix] = found
        layers.append(StoredLayer(layer.removeprefix(prefix), configs.get(layer, {}), tensors))
    return layers


def quantized_already(file: TensorFile, prefix: str) -> str:
    """Why the file counts as quantized; empty if it does not."""
    for name in (OLD_MARK, prefix + OLD_MARK):
        if name in file.entries:
            return f"it holds the tensor {name}"
    if HEADER_KEY in file.metadata:
        return f"its header holds {HEADER_KEY}"
    for layer in layers_of(file, prefix):
        if layer.config:
            return f"{layer.name} is stored as {layer.format_name}"
        if layer.tensors["weight"].dtype not in WIDE:
            return f"the weight of {layer.name} has the type {layer.tensors['weight'].dtype}"
    return ""


def _configs(file: TensorFile, prefix: str) -> dict[str, Mapping[str, Any]]:
    """The configuration of each quantized layer, by its name with prefix."""
    configs: dict[str, Mapping[str, Any]] = {}
    if HEADER_KEY in file.metadata:
        try:
            listed = json.loads(file.metadata[HEADER_KEY])["layers"]
            configs.update({name: dict(config) for name, config in listed.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{file.path}: {HEADER_KEY} cannot be read: {error!r}") from error
    for key in file.entries:
        layer = key.removesuffix(f".{CONFIG}")
        if layer != key:
            try:
                configs[layer] = decode_config(file.read(key))
            except ValueError as error:
                raise FileError(f"{file.path}, {key}: {error}") from error
        layer = key.removesuffix(".scale_weight")
        if layer != key:
            configs[layer] = {"format": "float8_e4m3fn"}
    return configs


def _marks(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells formats apart that ComfyUI gives one name."""
    keys = ("format", "full_precision_matrix_mult", "activation_scale")
    return tuple(config.get(key) or None for key in keys)
