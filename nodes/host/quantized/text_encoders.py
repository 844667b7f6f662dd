"""Text encoders with quantized weights."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.sd
import comfy.utils
import folder_paths

from ....offer import machine_of
from ....quant.formats import FORMATS, find
from ....quant.formats.plain import Plain
from ....quant.layers import LayerRules
from ..ledgers import attach_ledger
from ..new_files import shown_progress
from .ledger import KEY, LinearLedger
from .loading import AS_STORED, COMPUTE_DTYPES, Request
from .operations import quantized_operations
from .sources import read_tensors
from .stored import quantize_layers, wrap_stored

TEXT_FORMATS = tuple(f.name for f in FORMATS if f.hardware is None or not f.is_quantized)
"""Formats that leave activations alone: a prompt is a few hundred rows, whose products take no
time, and the outliers of T5 and Qwen do not bear 8 bits."""


def load_clip(
    paths: tuple[str, ...], clip_type: str, request: Request, disable_dynamic: bool = False
) -> Any:
    """A CLIP from one or more files, quantized layer by layer as they are read.

    Args:
        clip_type: as of core's Load CLIP, for example ``lumina2``.

    Raises:
        ModelFileError: a file cannot be read.
        ValueError: a file is quantized already in another format, or the format is not one of
            :data:`TEXT_FORMATS`.
        WeightRangeError: a layer holds infinities or NaN.
    """
    if request.format not in (AS_STORED, *TEXT_FORMATS):
        raise ValueError(
            f"text encoders are not computed in {request.format}; choose one of "
            f"{', '.join((AS_STORED, *TEXT_FORMATS))}"
        )
    device = comfy.model_management.text_encoder_device()
    wanted = None if request.format == AS_STORED else find(request.format)
    chosen = COMPUTE_DTYPES[request.compute_dtype]
    dtype = chosen or comfy.model_management.text_encoder_dtype(device)
    rules = LayerRules.parse(request.layers)
    ledger = LinearLedger()
    parts, quantized = [], False
    for path in paths:
        tensors, metadata = read_tensors(path)
        tensors, _ = comfy.utils.convert_old_quants(tensors, "", metadata=metadata)
        held = wrap_stored(tensors, dtype, wanted, rules)
        if wanted is not None and wanted.is_quantized and not held:
            quantize_layers(tensors, wanted, rules, dtype, device, shown_progress())
            held = 1
        quantized = quantized or bool(held)
        parts.append(tensors)
    options: dict[str, Any] = {}
    if quantized:
        operations = quantized_operations(dtype, machine_of(device), ledger)
        options = {"custom_operations": operations, "dtype": dtype}
    elif isinstance(wanted, Plain) or chosen is not None:
        options = {"dtype": wanted.dtype if isinstance(wanted, Plain) else chosen}
    clip = comfy.sd.load_text_encoder_state_dicts(
        parts,
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        clip_type=getattr(comfy.sd.CLIPType, clip_type.upper()),
        model_options=options,
        disable_dynamic=disable_dynamic,
    )
    clip.patcher.cached_patcher_init = (load_clip_patcher, (paths, clip_type, request))
    if quantized:
        attach_ledger(clip.patcher, KEY, ledger)
    return clip


def load_clip_patcher(
    paths: tuple[str, ...], clip_type: str, request: Request, disable_dynamic: bool = False
) -> Any:
    """What ComfyUI calls to load the same encoder again."""
    return load_clip(paths, clip_type, request, disable_dynamic).patcher
