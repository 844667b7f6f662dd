"""What a safetensors file holds: which layers are quantized, how, and which part is the model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import CONFIG, Format, decode_config, encode_config
from .files import WIDE, Entry, FileError, TensorFile, dtype_name, torch_dtype
from .formats import FORMATS
from .gguf_files import GgufFile, is_gguf

if TYPE_CHECKING:
    import torch
    from torch import Tensor

HEADER_KEY = "_quantization_metadata"
"""Where some files hold the configurations of all layers: in the header, ``{"layers": {…}}``."""

METADATA_KEY = "wattbench"
"""Where the header says how WattBench made a file."""

STALE_KEYS = (HEADER_KEY, "modelspec.hash_sha256")
"""What metadata say of a file's own tensors, and would be wrong of other ones."""

OLD_MARK = "scaled_fp8"
"""A tensor of this name marks ComfyUI's first layout of FP8 files; scales end in the following."""

INPUT_SCALE = "input_scale"
OLD_SCALES = {"scale_weight": "weight_scale", "scale_input": INPUT_SCALE}
"""The old layout's suffixes and ours; of its input scales ComfyUI passes over those that are 1."""

SCALES = ("weight_scale", "weight_nested_scale", "weight_nested_offset", INPUT_SCALE)
"""Suffixes of what a quantized layer may hold beside ``weight`` and ``bias``."""

MODEL_PREFIXES = ("model.diffusion_model.", "model.model.", "net.")
"""How names of the diffusion model begin in a checkpoint, as ComfyUI's detection knows them."""

TWO_TO_A_BYTE = ("nvfp4",)
"""ComfyUI's own formats that put two numbers into a byte."""

FEW = 5
"""So few names with a prefix are no model: ComfyUI's own limit."""


OTHER_TOOLS = {
    ".SCB": "bitsandbytes",
    ".bitsandbytes__": "bitsandbytes",
    ".qweight": "Nunchaku, GPTQ or AWQ",
    "_weight_qdata": "torchao",
}
"""Parts of names by which files of other tools are known, which ComfyUI does not read."""

LORA_MARKS = (".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".lora.")
"""Parts of names by which the files of LoRAs are known."""

DIFFUSERS_MARKS = (
    "down_blocks.0.resnets.0.",
    "single_transformer_blocks.0.attn.",
    "noise_refiner.0.attention.norm_k.",
    "pos_embed.proj.",
)
"""How names begin of U-Nets, Flux and AuraFlow, Z-Image, SD3 and PixArt as diffusers saves them."""


def format_of(config: Mapping[str, Any], has_input_scale: bool) -> Format | None:
    """Our format for what a file says of a layer; ``None`` for one that ComfyUI alone reads.

    A file of others that says fp8 and nothing of activations is computed as ``fp8``, where
    ComfyUI would take the scale 1 for all activations.
    """
    found = (f.reads(config, has_input_scale) for f in FORMATS)
    return next(filter(None, found), None)


def format_name(config: Mapping[str, Any], has_input_scale: bool) -> str:
    """Our name of a layer's format; ComfyUI's where it is none of ours, as ``nvfp4``."""
    found = format_of(config, has_input_scale)
    return str(config["format"]) if found is None else found.name


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
    def is_quantized(self) -> bool:
        """Whether it is stored in a format, or in plain numbers of 8 bits."""
        return bool(self.config) or self.tensors["weight"].dtype not in WIDE

    @property
    def format(self) -> Format | None:
        """The format of ours that it is stored in; ``None`` if it is in none."""
        return format_of(self.config, INPUT_SCALE in self.tensors) if self.config else None

    @property
    def format_name(self) -> str:
        """Our name; for others ComfyUI's, or the weights' type, as ``nvfp4`` or ``fp32``."""
        if not self.config:
            return dtype_name(self.tensors["weight"].dtype)
        return format_name(self.config, INPUT_SCALE in self.tensors)

    @property
    def is_readable(self) -> bool:
        """Whether :meth:`weight` can tell the numbers; int8 that ComfyUI has rotated it cannot."""
        if not self.config:
            return True
        rotated = self.config["format"] == "int8_tensorwise" and self.config.get("convrot")
        return self.format is not None and not rotated

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight before it was stored: some formats put two numbers into a byte."""
        import torch

        stored = self.tensors["weight"].shape
        if self.config.get("format") in TWO_TO_A_BYTE:
            return (*stored[:-1], 2 * stored[-1])
        if self.format is None:
            return stored
        return self.format.shape({"weight": torch.empty(stored, device="meta")})

    def read(self, file: TensorFile | GgufFile) -> dict[str, Tensor]:
        """Its tensors by suffix."""
        return {suffix: file.read(entry.name) for suffix, entry in self.tensors.items()}

    def weight(self, file: TensorFile | GgufFile, dtype: torch.dtype) -> Tensor:
        """The weight as it is computed with.

        Raises:
            FileError: no format of ours reads it.
        """
        stored = self.read(file)
        if not self.config:
            return stored["weight"].to(dtype)
        if self.format is None or not self.is_readable:
            raise FileError(f"{self.name} is stored as {self.format_name}: not readable")
        missing = [key for key in self.format.stored_spec(self.shape) if key not in stored]
        if missing:
            raise FileError(f"{self.name} is stored as {self.format_name} but has no {missing[0]}")
        return self.format.dequantize({CONFIG: encode_config(self.config), **stored}, dtype)


def open_weights(path: Path) -> TensorFile | GgufFile:
    """A model file for reading.

    Raises:
        FileError: it is neither safetensors nor GGUF, or damaged or truncated.
        OSError: it cannot be opened.
    """
    return GgufFile(path) if is_gguf(path) else TensorFile(path)


def model_prefix(names: Iterable[str]) -> str:
    """How the names of the diffusion model begin; empty where the file holds nothing else."""
    names = list(names)
    counts = {p: sum(name.startswith(p) for name in names) for p in MODEL_PREFIXES}
    most = max(counts, key=lambda prefix: counts[prefix])
    return most if counts[most] > FEW else ""


def layers_of(file: TensorFile | GgufFile, prefix: str) -> list[StoredLayer]:
    """The weights of two or more dimensions whose names begin with ``prefix``, in file order.

    Raises:
        FileError: the configuration of a layer cannot be read.
    """
    configs = _in_blocks(file) if isinstance(file, GgufFile) else _configs(file, prefix)
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
            if found is not None and (suffix != INPUT_SCALE or file.read(found.name).item() != 1):
                tensors[suffix] = found
        layers.append(StoredLayer(layer.removeprefix(prefix), configs.get(layer, {}), tensors))
    return layers


def lasting(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a file's metadata say that holds of any file made of it, as a model's configuration."""
    return {key: text for key, text in metadata.items() if key not in STALE_KEYS}


def is_lora(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names is a LoRA and not a model."""
    return any(mark in name for name in names for mark in LORA_MARKS)


def has_diffusers_names(names: Iterable[str], prefix: str) -> bool:
    """Whether a diffusion model is named as diffusers does, and not as ComfyUI computes it."""
    return any(name.removeprefix(prefix).startswith(DIFFUSERS_MARKS) for name in names)


def of_another_tool(file: TensorFile) -> str:
    """Why a file is quantized in a way that neither we nor ComfyUI read; empty if it is not."""
    for name in file.entries:
        for mark, tool in OTHER_TOOLS.items():
            if mark in name:
                return f"{tool} stores weights as {name}"
    for layer in layers_of(file, ""):
        dtype = layer.tensors["weight"].dtype
        if not layer.config and not torch_dtype(dtype).is_floating_point:
            return f"the weights of {layer.name} are {dtype}, and nothing says how to read them"
    return ""


def check_readable(file: TensorFile | GgufFile) -> None:
    """Refuse a file that neither we nor ComfyUI can read.

    Raises:
        FileError: another tool quantized it.
    """
    reason = "" if isinstance(file, GgufFile) else of_another_tool(file)
    if reason:
        raise FileError(
            f"{file.path} is quantized in a way that ComfyUI does not read: {reason}. Get the "
            "original file, or one that was made for ComfyUI."
        )


def quantized_already(file: TensorFile, prefix: str) -> str:
    """Why the file counts as quantized; empty if it does not."""
    other = of_another_tool(file)
    if other:
        return other
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


def _in_blocks(file: GgufFile) -> dict[str, Mapping[str, Any]]:
    return {
        name.removesuffix(".weight"): {"format": entry.dtype}
        for name, entry in file.entries.items()
        if file.is_in_blocks(name)
    }


def _configs(file: TensorFile, prefix: str) -> dict[str, Mapping[str, Any]]:
    """The configuration of each quantized layer, by its name with prefix."""
    configs: dict[str, Mapping[str, Any]] = {}
    if HEADER_KEY in file.metadata:
        try:
            listed = json.loads(file.metadata[HEADER_KEY])["layers"]
            configs.update({name: dict(config) for name, config in listed.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{file.path}: {HEADER_KEY} cannot be read: {error!r}") from error
    old = _old_config(file, prefix)
    for key in file.entries:
        layer = key.removesuffix(f".{CONFIG}")
        if layer != key:
            try:
                configs[layer] = decode_config(file.read(key))
            except ValueError as error:
                raise FileError(f"{file.path}, {key}: {error}") from error
        layer = key.removesuffix(".scale_weight")
        if layer != key:
            configs[layer] = old
    return configs


def _old_config(file: TensorFile, prefix: str) -> dict[str, Any]:
    """What ComfyUI makes of the layers of its old layout: a mark of two numbers asks to widen."""
    marks = [file.entries[name] for name in (OLD_MARK, prefix + OLD_MARK) if name in file.entries]
    widened = any(prod(mark.shape) == 2 for mark in marks)
    wide = {"full_precision_matrix_mult": True} if widened else {}
    return {"format": "float8_e4m3fn", **wide}
