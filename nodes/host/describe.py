"""What can be said of a model, and of what a sampler was asked to do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.ldm.modules.attention as comfy_attention

from .identity import ModelIdentity, identity_of

DTYPE_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""Other types keep ComfyUI's own key, for example ``float8_e4m3fn``."""

ATTENTION_NAMES = {"pytorch": "sdpa", "sub_quad": "sub_quadratic", "flash": "flash_attention_2"}
"""ComfyUI's registered names and the ones the field uses, where they differ."""


def describe_model(model: Any) -> ModelIdentity:
    """Architecture, name and origin of a MODEL; an empty string where it does not tell."""
    attached = identity_of(model)
    if attached is not None:
        return attached
    architecture = type(model.model.model_config).__name__.lower()
    loader = model.cached_patcher_init
    source = loader[1][0] if loader is not None else ""
    if not isinstance(source, str) or not source:
        return ModelIdentity(architecture, "", "")
    return ModelIdentity(architecture, Path(source).name, "file")


def weight_format(model: Any) -> str:
    """The format that most of the weights' bytes are stored in, for example ``fp16``."""
    sizes: dict[str, int] = {}
    for module in model.model.diffusion_model.modules():
        quantized = getattr(module, "quant_format", None)
        for parameter in module.parameters(recurse=False):
            dtype = str(parameter.dtype).removeprefix("torch.")
            name = quantized or DTYPE_NAMES.get(dtype, dtype)
            sizes[name] = sizes.get(name, 0) + parameter.numel() * parameter.element_size()
    return max(sizes, key=lambda name: sizes[name]) if sizes else ""


def attention_requested(model: Any) -> str:
    """The attention that ComfyUI is set to use for this model; what ran is another matter."""
    override = model.model_options.get("transformer_options", {}).get(
        "optimized_attention_override"
    )
    if override is not None:
        return f"override {getattr(override, '__qualname__', type(override).__name__)}"
    chosen = comfy_attention.optimized_attention
    for name, function in comfy_attention.REGISTERED_ATTENTION_FUNCTIONS.items():
        if function is chosen:
            return ATTENTION_NAMES.get(name, name)
    return str(getattr(chosen, "__name__", chosen))


def model_facts(model: Any) -> dict[str, Any]:
    """The fields of :class:`..measure.records.Condition` that a MODEL determines."""
    identity = describe_model(model)
    return {
        "architecture": identity.architecture,
        "model": identity.model,
        "weights": identity.weights,
        "attention": attention_requested(model),
        "weight_format": weight_format(model),
    }


def sampling_facts(guider: Any, noise: Any, sampler: Any, sigmas: Any) -> dict[str, Any]:
    """The fields of a condition that a sampling determines.

    Args:
        guider: ComfyUI's ``CFGGuider``, which holds the model.
        noise: latent noise, ``[batch, channels, ..., height, width]``.
        sampler: ComfyUI's ``Sampler``.
        sigmas: noise levels, one more than there are steps.
    """
    model = guider.model_patcher
    ratio = model.get_model_object("latent_format").spacial_downscale_ratio
    function = getattr(getattr(sampler, "sampler_function", None), "__name__", "")
    return {
        **model_facts(model),
        "width_px": noise.shape[-1] * ratio,
        "height_px": noise.shape[-2] * ratio,
        "batch_size": noise.shape[0],
        "steps": len(sigmas) - 1,
        "cfg": getattr(guider, "cfg", None),
        "sampler": function.removeprefix("sample_"),
    }
