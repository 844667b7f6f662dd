"""Which model a file's tensors are, as ComfyUI tells it by their names and shapes."""

from __future__ import annotations

from typing import Any

import comfy.model_detection
import comfy.utils

from ....quant.base import CONFIG
from ....quant.files import FileError
from ....quant.stored import HEADER_KEY
from .state_dicts import StateDict


def detect(
    name: str, tensors: StateDict, metadata: dict[str, str]
) -> tuple[StateDict, dict[str, str], Any]:
    """The diffusion model's tensors, the file's metadata, and ComfyUI's configuration of it.

    Names become ComfyUI's, and quantization is marked per layer.

    Raises:
        FileError: ComfyUI knows no such model, or it is quantized under diffusers' names.
    """
    tensors, _ = comfy.utils.convert_old_quants(tensors, "", metadata=metadata)
    metadata = {key: value for key, value in metadata.items() if key != HEADER_KEY}
    prefix = comfy.model_detection.unet_prefix_from_state_dict(tensors)
    parts = comfy.utils.state_dict_prefix_replace(tensors, {prefix: ""}, filter_keys=True)
    if parts:
        tensors, _ = comfy.utils.convert_old_quants(parts, "", metadata=metadata)
    try:
        config = comfy.model_detection.model_config_from_unet(tensors, "", metadata=metadata)
        if config is None:
            tensors = _native_names(name, tensors)
            config = comfy.model_detection.model_config_from_unet(tensors, "", metadata=metadata)
    except KeyError as error:
        raise FileError(
            f"{name} has no {error.args[0]}, by which ComfyUI tells which model it is: it is "
            "incomplete, or no diffusion model. Get it again."
        ) from error
    if config is None:
        raise FileError(
            f"{name} holds no diffusion model that this ComfyUI knows. Text encoders, VAEs and "
            "LoRAs have loaders of their own."
        )
    return tensors, metadata, config


def _native_names(name: str, tensors: StateDict) -> StateDict:
    """``tensors`` under ComfyUI's names, if those that they have are diffusers'.

    Raises:
        FileError: they are diffusers', and the file is quantized.
    """
    is_quantized = any(key.endswith(f".{CONFIG}") for key in tensors)
    config = comfy.model_detection.model_config_from_diffusers_unet(tensors)
    if config is not None:
        names = comfy.utils.unet_to_diffusers(config.unet_config)
        native = {ours: tensors[theirs] for theirs, ours in names.items() if theirs in tensors}
    else:
        native = comfy.model_detection.convert_diffusers_mmdit(tensors, "")
    if native is None:
        return tensors
    if is_quantized:
        raise FileError(
            f"{name} is quantized under diffusers' names, of which ComfyUI joins matrices only "
            "before they are quantized. Load the original file here in this format, and keep "
            "the result with save_as."
        )
    return native
