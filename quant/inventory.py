"""From any file to logical layers, with every tensor accounted for.

One step for the loader, the converter and the report: what a file says of its layers, in any of the
layouts that tools write, becomes a list of :class:`.stored.StoredLayer`. A tensor is part of a
layer, or a plain number of the model, or outside of the model; what is neither is refused by name,
because a scale that nobody multiplies by turns a good file into noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

from .base import CONFIG, decode_config
from .files import WIDE, Entry, FileError, TensorFile, torch_dtype
from .formats import find
from .formats.gguf import PREFIX as GGUF_PREFIX
from .ggml import BLOCK_TYPES
from .gguf_files import GgufFile, is_gguf
from .kinds import other_tool
from .scales import KNOWN, granularity
from .stored import FP8_TYPES, INPUT_SCALE, LAYOUTS, WEIGHT_SCALE, StoredLayer
from .stored import ROLES as KNOWN_ROLES

MAX_CONFIG_BYTES = 65536
"""Of a layer's configuration, which is some words."""

HEADER_KEY = "_quantization_metadata"
"""Where some files hold the configurations of all layers: in the header, ``{"layers": {…}}``."""

METADATA_KEY = "wattbench"
"""Where the header says how WattBench made a file."""

STALE_KEYS = (HEADER_KEY, "modelspec.hash_sha256")
"""What metadata say of a file's own tensors, and would be wrong of other ones."""

OLD_MARK = "scaled_fp8"
"""A tensor of this name marks ComfyUI's first layout of FP8 files."""

ROLES = {
    "scale_weight": WEIGHT_SCALE,
    "weight_scale_inv": WEIGHT_SCALE,
    "scale_input": INPUT_SCALE,
}
"""What tools call the scales that ComfyUI now calls otherwise. ``weight_scale_inv`` is multiplied
by as well: it is the inverse of what the weights were multiplied by (DeepSeek, transformers)."""

THEIRS = {
    "scale": "SDNQ",
    "zero_point": "SDNQ",
    "weight_scale_2": "NVFP4 of NVIDIA's Model Optimizer",
    "weight_zero_point": "compressed-tensors",
    "scales": "MLX",
}
"""Whose layout it is that has a tensor of this name beside a weight of 8 bits."""

MODEL_PREFIXES = ("model.diffusion_model.", "model.model.", "net.")
"""How names of the diffusion model begin in a checkpoint, as ComfyUI's detection knows them."""

BARE_PREFIX = "model."
BARE_MARKS = ("model.double_layers.", "model.single_layers.", "model.cond_seq_linear.")
"""AuraFlow's checkpoints begin so; so do language models, whose names go on otherwise."""

FEW = 5
"""So few names with a prefix are no model: ComfyUI's own limit."""

FACTS = (
    "v_pred",
    "ztsnr",
    "edm_mean",
    "edm_std",
    "edm_vpred.",
    "cc_projection.",
    "conditioner.conditioners.seconds_",
    "conditioner.conditioners.prompt.padding_embedding",
)
"""How names of tensors begin outside of the diffusion model of which ComfyUI builds one: how it
predicts, its noise levels, its latent's mean."""

DIFFUSERS_MARKS = (
    "down_blocks.0.resnets.0.",
    "single_transformer_blocks.0.attn.",
    "noise_refiner.0.attention.norm_k.",
    "pos_embed.proj.",
)
"""How names begin of U-Nets, Flux and AuraFlow, Z-Image, SD3 and PixArt as diffusers saves them."""

AnyFile = TensorFile | GgufFile


def open_weights(path: Path) -> AnyFile:
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
    if counts[most] > FEW:
        return most
    return BARE_PREFIX if any(name.startswith(BARE_MARKS) for name in names) else ""


def facts_of(names: Iterable[str]) -> list[str]:
    """The names of tensors outside of the diffusion model that say which model it is."""
    return [name for name in names if name.startswith(FACTS)]


def lasting(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a file's metadata say that holds of any file made of it, as a model's configuration."""
    return {key: text for key, text in metadata.items() if key not in STALE_KEYS}


def has_diffusers_names(names: Iterable[str], prefix: str) -> bool:
    """Whether a diffusion model is named as diffusers does, and not as ComfyUI computes it."""
    return any(name.removeprefix(prefix).startswith(DIFFUSERS_MARKS) for name in names)


def layers_of(file: AnyFile, prefix: str) -> list[StoredLayer]:
    """Weights of two or more dimensions whose names begin with ``prefix``, in file order.

    Raises:
        FileError: another tool quantized the file, a layer's configuration cannot be read, a tensor
            of a layer is missing or does not fit, or a scale belongs to no layer that is known.
    """
    if isinstance(file, GgufFile):
        return _in_blocks(file, prefix)
    tool = other_tool(file.entries)
    if tool:
        raise _not_read(file, tool)
    configs = _configs(file, prefix)
    beside = _beside(file.entries)
    layers = []
    for key, entry in file.entries.items():
        if not key.startswith(prefix):
            continue
        name = key.removesuffix(".weight")
        if name == key or len(entry.shape) < 2:
            _check_bare(file, entry)
            continue
        layers.append(_layer(file, name, prefix, configs.get(name), beside[name]))
    return layers


def quantized_already(file: TensorFile, prefix: str) -> str:
    """Why the file counts as quantized; empty if it does not.

    Raises:
        FileError: as :func:`layers_of`.
    """
    tool = other_tool(file.entries)
    if tool:
        return tool
    for name in (OLD_MARK, prefix + OLD_MARK):
        if name in file.entries:
            return f"it holds the tensor {name}"
    if HEADER_KEY in file.metadata:
        return f"its header holds {HEADER_KEY}"
    for key, entry in file.entries.items():
        if not key.startswith(prefix) or len(entry.shape) < 2 or entry.dtype in WIDE:
            continue
        if key.endswith(".weight"):
            layer = key.removeprefix(prefix).removesuffix(".weight")
            return f"the weight of {layer} has the type {entry.dtype}"
    for key in file.entries:
        if key.startswith(prefix) and key.endswith(f".{CONFIG}"):
            return f"it holds the tensor {key}"
    return ""


def _beside(entries: Mapping[str, Entry]) -> dict[str, dict[str, Entry]]:
    """By layer, with prefix, the tensors beside its weight, by the ends of their names."""
    found: dict[str, dict[str, Entry]] = {}
    for key, entry in entries.items():
        layer, _, end = key.rpartition(".")
        found.setdefault(layer, {})[end] = entry
    return found


def _layer(
    file: TensorFile,
    name: str,
    prefix: str,
    config: Mapping[str, Any] | None,
    beside: Mapping[str, Entry],
) -> StoredLayer:
    weight = beside["weight"]
    roles: dict[str, Entry] = {}
    ends: dict[str, str] = {}
    for end, entry in beside.items():
        if "scale" in end or "zero_point" in end or end in KNOWN_ROLES:
            role = ROLES.get(end, end)
            roles[role], ends[role] = entry, end
    if weight.dtype in WIDE and not config:
        return StoredLayer(name.removeprefix(prefix), {}, {"weight": weight}, weight.shape)
    where = f"{file.path}, layer {name}"
    if not config:
        config = _told_by_type(file, where, weight, ends)
    if not config:
        return StoredLayer(name.removeprefix(prefix), {}, {"weight": weight}, weight.shape)
    used = _used(file, where, weight, config, roles, ends)
    tensors = {"weight": weight, **used}
    if CONFIG in beside:
        tensors[CONFIG] = beside[CONFIG]
    layer = StoredLayer(name.removeprefix(prefix), config, tensors, weight.shape)
    shape = _logical(layer)
    _check_scales(where, config, shape, used)
    return StoredLayer(layer.name, config, tensors, shape)


def _told_by_type(
    file: TensorFile, where: str, weight: Entry, ends: Mapping[str, str]
) -> dict[str, Any]:
    """The configuration of a weight of 8 bits that no mark describes; empty for plain numbers."""
    unknown = [end for role, end in ends.items() if role not in (WEIGHT_SCALE, INPUT_SCALE)]
    if not torch_dtype(weight.dtype).is_floating_point:
        tool = next((f", as {THEIRS[end]} writes it" for end in unknown if end in THEIRS), "")
        raise _not_read(
            file, f"the weights of {where} are {weight.dtype}, and nothing says how to read{tool}"
        )
    if unknown:
        raise _not_read(file, f"{where} has {unknown[0]}{_whose(unknown[0])}")
    if WEIGHT_SCALE not in ends:
        return {}
    if weight.dtype not in FP8_TYPES:
        raise _not_read(file, f"{where} is {weight.dtype} and has {ends[WEIGHT_SCALE]}")
    return {"format": FP8_TYPES[weight.dtype]}


def _used(
    file: TensorFile,
    where: str,
    weight: Entry,
    config: Mapping[str, Any],
    roles: Mapping[str, Entry],
    ends: Mapping[str, str],
) -> dict[str, Entry]:
    """The tensors of a layer beside its weight, by role, after all of them were accounted for."""
    name = str(config["format"])
    layout = LAYOUTS.get(name)
    if layout is None:
        raise FileError(
            f"{where} is stored as {name}, which neither WattBench nor ComfyUI 0.30 knows. Update "
            "WattBench, or get the file in another format."
        )
    if weight.dtype != layout.dtype:
        raise FileError(
            f"{where} is said to be {name}, whose weights are {layout.dtype}, and is "
            f"{weight.dtype}: the file is damaged, or its header is that of another. Get it again."
        )
    missing = [role for role in layout.needed if role not in roles]
    if missing:
        raise FileError(f"{where} has no {missing[0]}: the file is incomplete. Get it again.")
    unused = [ends[role] for role in roles if role not in (*layout.needed, *layout.optional)]
    if unused:
        raise _not_read(file, f"{where} has {unused[0]} beside {name}{_whose(unused[0])}")
    used = dict(roles)
    given = used.get(INPUT_SCALE)
    if given is not None and prod(given.shape) != 1:
        raise FileError(
            f"{where} has {ends[INPUT_SCALE]} with {prod(given.shape)} elements, and activations "
            "have one scale: get the file in another format, or the original."
        )
    if ends.get(INPUT_SCALE) == "scale_input" and file.read(used[INPUT_SCALE].name).item() == 1:
        del used[INPUT_SCALE]  # ComfyUI takes 1 in the old layout for none
    return used


def _check_scales(
    where: str, config: Mapping[str, Any], shape: tuple[int, ...], used: Mapping[str, Entry]
) -> None:
    name = str(config["format"])
    if WEIGHT_SCALE not in used:
        return
    scale = used[WEIGHT_SCALE]
    fits = granularity(shape, scale.shape) if prod(shape) else None
    whole_or_rows = ((shape[0], prod(shape[1:])), (1, prod(shape[1:])))
    spec = {} if name not in ("mxfp8", "nvfp4") else find(name).stored_spec(shape)
    if name == "float8_e4m3fn":
        known, expected = fits is not None and scale.dtype in WIDE, KNOWN
    elif name == "float8_e5m2":
        known, expected = prod(scale.shape) == 1 and scale.dtype in WIDE, "one number"
    elif name == "int8_tensorwise":
        known, expected = fits in whole_or_rows and scale.dtype in WIDE, "one number or [out, 1]"
    elif spec:
        wanted = spec[WEIGHT_SCALE].shape
        known, expected = prod(scale.shape) == prod(wanted), f"those in tiles {list(wanted)}"
    else:
        known, expected = bool(prod(shape)), "one that fits the weight"
    if not known:
        raise FileError(
            f"{where} is {name} of shape {list(shape)}, and its scales are {scale.dtype} of shape "
            f"{list(scale.shape)}: known are {expected}. Get the file in another format, or the "
            "original."
        )


def _logical(layer: StoredLayer) -> tuple[int, ...]:
    """The shape that the layer computes with: some formats put two numbers into a byte."""
    import torch

    stored = layer.tensors["weight"].shape
    if layer.format is None or len(stored) != 2:
        return stored
    blanks = {
        role: torch.empty(entry.shape, device="meta") for role, entry in layer.tensors.items()
    }
    return layer.format.shape(blanks)


def _check_bare(file: TensorFile, entry: Entry) -> None:
    """Refuse a tensor of 8 bits that is no ``.weight`` and has a scale."""
    if entry.dtype in WIDE or len(entry.shape) < 2:
        return
    for mark in (f"{entry.name}_scale", f"{entry.name}.scale", f"{entry.name}_scale_inv"):
        if mark in file.entries:
            raise _not_read(file, f"{entry.name} is {entry.dtype} and has {mark}")


def _whose(end: str) -> str:
    return f", the layout of {THEIRS[end]}" if end in THEIRS else ""


def _not_read(file: TensorFile, reason: str) -> FileError:
    return FileError(
        f"{file.path} is quantized in a way that ComfyUI does not read: {reason}. Get the "
        "original file, or one that was made for ComfyUI."
    )


def _in_blocks(file: GgufFile, prefix: str) -> list[StoredLayer]:
    return [
        StoredLayer(
            name.removeprefix(prefix).removesuffix(".weight"),
            {"format": entry.dtype} if file.is_in_blocks(name) else {},
            {"weight": entry},
            entry.shape,
        )
        for name, entry in file.entries.items()
        if name.startswith(prefix) and name.endswith(".weight") and len(entry.shape) >= 2
    ]


def _configs(file: TensorFile, prefix: str) -> dict[str, Mapping[str, Any]]:
    """The configuration of each quantized layer, by its name with prefix.

    A header names layers with the file's prefix or without it, and may name others that the file
    does not hold.
    """
    configs: dict[str, Mapping[str, Any]] = {}
    if HEADER_KEY in file.metadata:
        try:
            listed = json.loads(file.metadata[HEADER_KEY])["layers"]
            for name, config in listed.items():
                full = name if f"{name}.weight" in file.entries else prefix + name
                configs[full] = _checked(file, dict(config))
        except FileError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = type(error).__name__
            raise FileError(f"{file.path}: {HEADER_KEY} cannot be read ({why})") from error
    old = _old_config(file, prefix)
    for key in file.entries:
        layer, _, end = key.rpartition(".")
        if not key.startswith(prefix):
            continue
        if end == CONFIG:
            try:
                if file.entries[key].nbytes > MAX_CONFIG_BYTES:
                    raise ValueError(f"it is larger than {MAX_CONFIG_BYTES} bytes")
                configs[layer] = _checked(file, decode_config(file.read(key)))
            except ValueError as error:
                raise FileError(f"{file.path}, {key}: {error}") from error
            if f"{layer}.weight" not in file.entries:
                raise FileError(
                    f"{file.path}: layer {layer} has no weight: the file is incomplete. "
                    "Get it again."
                )
        elif end == "scale_weight" and layer not in configs and old:
            weight = file.entries.get(f"{layer}.weight")
            kind = FP8_TYPES.get("" if weight is None else weight.dtype, "float8_e4m3fn")
            configs[layer] = {**old, "format": kind}
    return configs


def _checked(file: TensorFile, config: dict[str, Any]) -> dict[str, Any]:
    name = config["format"]
    if name.startswith(GGUF_PREFIX) or name in BLOCK_TYPES:
        raise FileError(f"{file.path}: {name} names blocks of a GGUF file, this is safetensors")
    return config


def _old_config(file: TensorFile, prefix: str) -> dict[str, Any]:
    """What ComfyUI makes of the layers of its old layout: a mark of two numbers asks to widen."""
    marks = [file.entries[name] for name in (OLD_MARK, prefix + OLD_MARK) if name in file.entries]
    if not marks:
        return {}
    widened = any(prod(mark.shape) == 2 for mark in marks)
    return {"format": "float8_e4m3fn", **({"full_precision_matrix_mult": True} if widened else {})}
