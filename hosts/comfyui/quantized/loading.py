"""From a file, or from a MODEL, to a MODEL with quantized weights."""

from __future__ import annotations

import copy
import uuid
from typing import Any

import comfy.model_management
import comfy.sd
import torch

from ....quant.formats import find
from ..describe import WEIGHT_FORMAT_KEY
from ..linear import linear_layers
from .detection import detect
from .ledger import ride
from .operations import Layer
from .preparation import AS_STORED, Part, Prepared, Request, prepare
from .reading import StateDict, read_file


def load_model(path: str, request: Request, disable_dynamic: bool = False) -> Any:
    """A MODEL from a diffusion model or checkpoint file, quantized layer by layer as it is read.

    Raises:
        FileError: the file cannot be read, or holds no diffusion model that ComfyUI knows.
        ValueError: the file is quantized already, in another format, or no layer can be.
        WeightRangeError: a layer holds infinities or NaN.
    """
    held = read_file(path)
    found = detect(held)
    start = len(found.prefix)
    layers = {name[start:]: layer for name, layer in held.layers.items()}
    prepared = _prepare(Part(found.parts, layers, found.linears), request, found.config)
    options = {"custom_operations": prepared.operations, "dtype": prepared.weight_dtype}
    if found.prefix:
        whole = {f"{found.prefix}{name}": tensor for name, tensor in found.parts.items()}
        (model, *_) = comfy.sd.load_state_dict_guess_config(
            {**whole, **found.outside},
            output_vae=False,
            output_clip=False,
            model_options={name: value for name, value in options.items() if value is not None},
            metadata=held.metadata,
            disable_dynamic=disable_dynamic,
        )
    else:
        model = comfy.sd.load_diffusion_model_state_dict(
            found.parts, options, metadata=held.metadata, disable_dynamic=disable_dynamic
        )
    model.cached_patcher_init = (load_model, (path, request))
    return _finish(model, prepared, request)


def quantize_model(model: Any, request: Request, disable_dynamic: bool = False) -> Any:
    """``model`` with its weights quantized, as a new MODEL; ``model`` stays as it is.

    LoRAs and settings of ``model`` go along; LoRAs are not part of the quantized weights.

    Raises:
        ValueError: ``model`` is quantized already, no layer can be, or the request names no format.
        WeightRangeError: a layer holds infinities or NaN.
    """
    if request.format == AS_STORED:
        raise ValueError(f"a MODEL is quantized to a format; choose one instead of {AS_STORED!r}")
    held = model.get_attachment(WEIGHT_FORMAT_KEY)
    if held and find(request.format).is_quantized:
        raise ValueError(
            f"the model is already quantized ({held}), and {request.format} stores its own numbers:"
            " begin with the original model"
        )
    comfy.model_management.unload_model_and_clones(model)
    source = model.model
    tensors = dict(source.diffusion_model.state_dict())
    linears = frozenset(name for name, _, _ in linear_layers(model))
    prepared = _prepare(Part(tensors, linears=linears), request, source.model_config)
    made = _with_operations(source, tensors, prepared)
    made.load_model_weights(tensors, "", assign=model.is_dynamic() and not disable_dynamic)
    quantized = model.clone(
        disable_dynamic=disable_dynamic, model_override=(made, ({}, {}, {}, set()))
    )
    quantized.size, quantized.parent, quantized.clone_base_uuid = 0, None, uuid.uuid4()
    quantized.cached_patcher_init = (quantize_model, (model, request))
    return _finish(quantized, prepared, request)


def _with_operations(source: Any, tensors: StateDict, prepared: Prepared) -> Any:
    """A model as ``source`` whose diffusion model is built anew, of other operations.

    What ``source`` predicts, its noise levels and its latent format are its own: files say these
    outside of the diffusion model, where ``tensors`` do not reach.
    """
    config = object.__new__(type(source.model_config))
    vars(config).update(vars(source.model_config))
    config.unet_config = dict(config.unet_config)
    config.custom_operations = prepared.operations
    config.model_type = lambda state_dict, prefix="": source.model_type
    device = comfy.model_management.get_torch_device()
    dtype = prepared.weight_dtype or prepared.compute_dtype
    config.set_inference_dtype(dtype, prepared.compute_dtype, device=device)
    beside = source.state_dict_for_saving({})
    beside.update(
        (name, tensor)
        for name, tensor in source.state_dict().items()
        if not name.startswith("diffusion_model.")
    )
    built = config.get_model({**tensors, **beside}, "")
    made = copy.copy(source)
    made._modules = {**source._modules, "diffusion_model": built.diffusion_model}
    made.model_config, made.manual_cast_dtype = config, config.manual_cast_dtype
    made.device, made.current_patcher = built.device, None
    return made


def _prepare(part: Part, request: Request, config: Any) -> Prepared:
    device = comfy.model_management.get_torch_device()
    dtype = comfy.model_management.unet_manual_cast(None, device, config.supported_inference_dtypes)
    return prepare([part], request, device, dtype)


def _finish(model: Any, prepared: Prepared, request: Request) -> Any:
    if prepared.ledger is not None:
        model.model.manual_cast_dtype = prepared.compute_dtype
        ride(model, prepared.ledger)
        for name, module in model.model.diffusion_model.named_modules():
            layer = getattr(module, "layer", None)
            if name in request.input_scales and isinstance(layer, Layer) and layer.takes_scale:
                module.set_input_scale(torch.tensor(request.input_scales[name]))
        model.set_attachments(WEIGHT_FORMAT_KEY, prepared.weight_format)
    elif prepared.compute_dtype not in (None, prepared.weight_dtype):
        model.set_model_compute_dtype(prepared.compute_dtype)
    return model
