"""Text encoders with quantized weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.utils
import folder_paths

from ....quant.files import FileError
from ....quant.formats import FORMATS
from ..describe import WEIGHT_FORMAT_KEY
from ..ledgers import attach_ledger
from .ledger import KEY
from .preparation import AS_STORED, Part, Request, prepare
from .reading import StateDict, read_file

TEXT_FORMATS = tuple(
    f.name for f in FORMATS if f.can_quantize and (f.hardware is None or not f.is_quantized)
)
"""Formats that leave activations alone: a prompt is a few hundred rows, whose products take no
time, and the outliers of T5 and Qwen do not bear 8 bits."""

TEXT = "text"
"""Stands before what tables say of a text encoder."""


def load_clip(
    paths: tuple[str, ...], clip_type: str, request: Request, disable_dynamic: bool = False
) -> Any:
    """A CLIP from one or more files, quantized layer by layer as they are read.

    Args:
        clip_type: as of core's Load CLIP, for example ``lumina2``.

    Raises:
        FileError: a file cannot be read, or none holds a text encoder that ComfyUI knows.
        ValueError: a file is quantized already in another format, no layer can be, or the format
            is not one of :data:`TEXT_FORMATS`.
        WeightRangeError: a layer holds infinities or NaN.
    """
    if request.format not in (AS_STORED, *TEXT_FORMATS):
        raise ValueError(
            f"text encoders are not computed in {request.format}; choose one of "
            f"{', '.join((AS_STORED, *TEXT_FORMATS))}"
        )
    files = [read_file(path, prefix="") for path in paths]
    encoders = [_native_names(held.tensors) for held in files]
    logical = [_native_names(held.logical()) for held in files]
    if not any(map(comfy.sd.detect_te_model, logical)):
        raise FileError(
            f"{', '.join(Path(path).name for path in paths)}: no text encoder that this ComfyUI "
            "knows. Diffusion models, VAEs and LoRAs have loaders of their own."
        )
    device = comfy.model_management.text_encoder_device()
    dtype = comfy.model_management.text_encoder_dtype(device)
    parts = [Part(tensors, held.layers) for tensors, held in zip(encoders, files, strict=True)]
    prepared = prepare(parts, request, device, dtype, TEXT)
    options = {
        "custom_operations": prepared.operations,
        "dtype": prepared.weight_dtype or prepared.compute_dtype,
    }
    clip = comfy.sd.load_text_encoder_state_dicts(
        encoders,
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        clip_type=getattr(comfy.sd.CLIPType, clip_type.upper()),
        model_options={name: value for name, value in options.items() if value is not None},
        disable_dynamic=disable_dynamic,
    )
    clip.patcher.cached_patcher_init = (load_clip_patcher, (paths, clip_type, request))
    if prepared.ledger is not None:
        attach_ledger(clip.patcher, KEY, prepared.ledger)
        clip.patcher.set_attachments(WEIGHT_FORMAT_KEY, prepared.weight_format)
    return clip


def _native_names(tensors: StateDict) -> StateDict:
    """A text encoder's tensors under ComfyUI's names."""
    if "transformer.resblocks.0.ln_1.weight" in tensors:
        return comfy.utils.clip_text_transformers_convert(tensors, "", "")
    return tensors


def load_clip_patcher(
    paths: tuple[str, ...], clip_type: str, request: Request, disable_dynamic: bool = False
) -> Any:
    """What ComfyUI calls to load the same encoder again."""
    return load_clip(paths, clip_type, request, disable_dynamic).patcher
