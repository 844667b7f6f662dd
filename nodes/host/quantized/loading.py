"""From a file, or from a MODEL, to a MODEL with quantized weights."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import comfy.model_detection
import comfy.model_management
import comfy.sd
import comfy.utils
import torch

from ....offer import machine_of
from ....quant.formats import find
from ....quant.formats.plain import Plain
from ....quant.layers import LayerRules
from ..describe import WEIGHT_FORMAT_KEY
from ..new_files import shown_progress
from .ledger import LinearLedger, ride
from .operations import Layer, quantized_operations
from .sources import ModelFileError, read_tensors
from .stored import StateDict, main_format, quantize_layers, wrap_stored

AS_STORED = "as stored"
"""The choice that takes a file's own formats and quantizes nothing."""

COMPUTE_DTYPES = {
    "auto": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}


@dataclass(frozen=True)
class Request:
    """How to quantize: a format's name or :data:`AS_STORED`, a compute dtype, and patterns.

    ``layers`` is as :meth:`..quant.layers.LayerRules.parse` reads it; ``input_scales`` are those of
    a calibration, by layer, for the layers that become ``fp8_static``.
    """

    format: str
    compute_dtype: str = "auto"
    layers: str = ""
    input_scales: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format != AS_STORED:
            find(self.format)
        if self.compute_dtype not in COMPUTE_DTYPES:
            names = ", ".join(COMPUTE_DTYPES)
            raise ValueError(f"unknown dtype {self.compute_dtype!r}; choose one of {names}")


def load_model(path: str, request: Request, disable_dynamic: bool = False) -> Any:
    """A MODEL from a diffusion model or checkpoint file, quantized layer by layer as it is read.

    Raises:
        ModelFileError: the file cannot be read, or holds no diffusion model that ComfyUI knows.
        ValueError: the file is quantized already, in another format.
        WeightRangeError: a layer holds infinities or NaN.
    """
    tensors, metadata = read_tensors(path)
    tensors, metadata = _native_names(Path(path).name, tensors, metadata)
    config = comfy.model_detection.model_config_from_unet(tensors, "", metadata=metadata)
    if config is None:
        raise ModelFileError(
            f"{Path(path).name} holds no diffusion model that this ComfyUI knows. Text encoders "
            "and VAEs have loaders of their own."
        )
    parts = _parts(tensors, request, config)
    options = {"custom_operations": parts.operations, "dtype": parts.weight_dtype}
    model = comfy.sd.load_diffusion_model_state_dict(
        tensors, options, metadata=metadata, disable_dynamic=disable_dynamic
    )
    model.cached_patcher_init = (load_model, (path, request))
    return _finish(model, parts)


def quantize_model(model: Any, request: Request, disable_dynamic: bool = False) -> Any:
    """``model`` with its weights quantized, as a new MODEL; ``model`` stays as it is.

    LoRAs and settings of ``model`` go along; LoRAs are not part of the quantized weights.

    Raises:
        ValueError: ``model`` is quantized already, or the request names no format.
        WeightRangeError: a layer holds infinities or NaN.
    """
    if request.format == AS_STORED:
        raise ValueError(f"a MODEL is quantized to a format; choose one instead of {AS_STORED!r}")
    comfy.model_management.unload_model_and_clones(model)
    source = model.model
    tensors = dict(source.diffusion_model.state_dict())
    config = type(source.model_config)(source.model_config.unet_config)
    config.sampling_settings = dict(source.model_config.sampling_settings)
    parts = _parts(tensors, request, config)
    config.custom_operations = parts.operations
    device = comfy.model_management.get_torch_device()
    dtype = parts.weight_dtype or parts.compute_dtype
    config.set_inference_dtype(dtype, parts.compute_dtype, device=device)
    made = config.get_model(tensors, "")
    made.load_model_weights(tensors, "", assign=model.is_dynamic() and not disable_dynamic)
    made.model_sampling = source.model_sampling
    quantized = model.clone(
        disable_dynamic=disable_dynamic, model_override=(made, ({}, {}, {}, set()))
    )
    quantized.size, quantized.parent, quantized.clone_base_uuid = 0, None, uuid.uuid4()
    quantized.cached_patcher_init = (quantize_model, (model, request))
    return _finish(quantized, parts)


@dataclass(frozen=True)
class _Parts:
    """What a model is built with: ``None`` where that is left to ComfyUI."""

    compute_dtype: torch.dtype | None
    weight_dtype: torch.dtype | None = None
    operations: Any = None
    ledger: LinearLedger | None = None
    weight_format: str = ""
    input_scales: Mapping[str, float] = field(default_factory=dict)


def _parts(tensors: StateDict, request: Request, config: Any) -> _Parts:
    """Wrap what is quantized in ``tensors``, quantize what the request selects, choose dtypes."""
    manager = comfy.model_management
    device = manager.get_torch_device()
    wanted = None if request.format == AS_STORED else find(request.format)
    chosen = COMPUTE_DTYPES[request.compute_dtype]
    dtype = chosen or manager.unet_manual_cast(None, device, config.supported_inference_dtypes)
    rules = LayerRules.parse(request.layers)
    quantized = wrap_stored(tensors, dtype, wanted, rules)
    if isinstance(wanted, Plain):
        return _Parts(chosen or wanted.dtype, wanted.dtype)
    if wanted is None and not quantized:
        return _Parts(chosen)
    if not quantized and wanted is not None:
        quantize_layers(tensors, wanted, rules, dtype, device, shown_progress())
    ledger = LinearLedger()
    operations = quantized_operations(dtype, machine_of(device), ledger)
    name = main_format(tensors) if wanted is None else wanted.name
    return _Parts(dtype, None, operations, ledger, name, request.input_scales)


def _finish(model: Any, parts: _Parts) -> Any:
    if parts.ledger is not None:
        model.model.manual_cast_dtype = parts.compute_dtype
        ride(model, parts.ledger)
        for name, module in model.model.diffusion_model.named_modules():
            layer = getattr(module, "layer", None)
            if name in parts.input_scales and isinstance(layer, Layer) and layer.takes_scale:
                module.set_input_scale(torch.tensor(parts.input_scales[name]))
        model.set_attachments(WEIGHT_FORMAT_KEY, parts.weight_format)
    elif parts.compute_dtype not in (None, parts.weight_dtype):
        model.set_model_compute_dtype(parts.compute_dtype)
    return model


def _native_names(
    name: str, tensors: StateDict, metadata: dict[str, str]
) -> tuple[StateDict, dict[str, str]]:
    """The diffusion model's tensors under ComfyUI's names, with quantization marked per layer."""
    tensors, metadata = comfy.utils.convert_old_quants(tensors, "", metadata=metadata)
    prefix = comfy.model_detection.unet_prefix_from_state_dict(tensors)
    parts = comfy.utils.state_dict_prefix_replace(tensors, {prefix: ""}, filter_keys=True)
    if parts:
        tensors, metadata = comfy.utils.convert_old_quants(parts, "", metadata=metadata)
    if comfy.model_detection.model_config_from_unet(tensors, "", metadata=metadata) is None:
        converted = comfy.model_detection.convert_diffusers_mmdit(tensors, "")
        if converted is not None:
            return converted, metadata
    return tensors, metadata
