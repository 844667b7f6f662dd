"""From a description to a MODEL, a CLIP and a VAE, by the steps of ComfyUI's own loaders."""

from __future__ import annotations

from typing import Any, NamedTuple

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import psutil
import torch

from ..identity import ModelIdentity, attach_identity
from .architecture import Architecture, Variant
from .weights import RandomWeights, count_parameters, size_bytes

TORCH_DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "float8_e4m3fn": torch.float8_e4m3fn,
}


class SyntheticModel(NamedTuple):
    """What a checkpoint loader returns: ModelPatcher, ``comfy.sd.CLIP``, ``comfy.sd.VAE``."""

    model: Any
    clip: Any
    vae: Any


class NotEnoughMemoryError(RuntimeError):
    """The weights would not fit into memory; the message gives sizes and a way out."""


class Recipe(NamedTuple):
    """One synthetic model; equal recipes give equal weights."""

    architecture: Architecture
    variant: Variant
    identity: ModelIdentity
    dtype: str
    seed: int


def build_all(recipe: Recipe) -> SyntheticModel:
    """Build the three parts of ``recipe``.

    Raises:
        NotEnoughMemoryError: the diffusion model and text encoder need more memory than is free.
    """
    _check_memory(recipe)
    return SyntheticModel(build_model(recipe), build_clip(recipe), build_vae(recipe))


def build_model(recipe: Recipe, disable_dynamic: bool = False) -> Any:
    """The diffusion model's patcher, as ``comfy.sd.load_diffusion_model_state_dict`` makes it."""
    manager = comfy.model_management
    load_device, offload_device = manager.get_torch_device(), manager.unet_offload_device()
    module = _diffusion_model(recipe, "cpu")
    patcher_class = (
        comfy.model_patcher.ModelPatcher
        if disable_dynamic
        else comfy.model_patcher.CoreModelPatcher
    )
    patcher = patcher_class(module, load_device=load_device, offload_device=offload_device)
    unet = module.diffusion_model
    weights = RandomWeights(recipe.seed).draw(unet, recipe.architecture.gains, offload_device)
    if recipe.architecture.finish is not None:
        recipe.architecture.finish(weights)
    unet.load_state_dict(weights, strict=False, assign=True)
    patcher.cached_patcher_init = (build_model, (recipe,))
    attach_identity(patcher, recipe.identity)
    return patcher


def build_clip(recipe: Recipe, disable_dynamic: bool = False) -> Any:
    """The text encoder with its real tokenizer, as ``comfy.sd.load_clip`` makes it."""
    options: dict[str, Any] = dict(recipe.variant.text_encoder_config)
    options["initial_device"] = comfy.model_management.text_encoder_offload_device()
    options["dtype"] = TORCH_DTYPES.get(recipe.dtype)
    target = recipe.variant.clip_target()
    clip = comfy.sd.CLIP(target, model_options=options, disable_dynamic=disable_dynamic)
    encoder = clip.cond_stage_model
    weights = RandomWeights(recipe.seed).draw(encoder, device=options["initial_device"])
    encoder.load_state_dict(weights, strict=False, assign=True)
    clip.patcher.cached_patcher_init = (_clip_patcher, (recipe,))
    return clip


def build_vae(recipe: Recipe) -> Any:
    """The VAE; ComfyUI reads its configuration from the weights and picks its dtype."""
    with torch.device("meta"):
        shapes = recipe.variant.vae()
    vae = comfy.sd.VAE(sd=RandomWeights(recipe.seed).draw(shapes))
    vae.patcher.cached_patcher_init = (_vae_patcher, (recipe,))
    return vae


def _clip_patcher(recipe: Recipe, disable_dynamic: bool = False) -> Any:
    return build_clip(recipe, disable_dynamic).patcher


def _vae_patcher(recipe: Recipe, disable_dynamic: bool = False) -> Any:
    """``comfy.sd.VAE`` decides by itself whether to be dynamic, so its stock factory ignores it."""
    return build_vae(recipe).patcher


def _diffusion_model(recipe: Recipe, device: str) -> Any:
    """ComfyUI's ``BaseModel`` on ``device``, with uninitialised weights."""
    manager = comfy.model_management
    load_device = manager.get_torch_device()
    config = recipe.architecture.supported_model(dict(recipe.variant.unet_config))
    supported = list(config.supported_inference_dtypes)
    dtype = TORCH_DTYPES.get(recipe.dtype)
    if dtype is None:
        blank = _diffusion_model(recipe._replace(dtype="fp32"), "meta").diffusion_model
        dtype = manager.unet_dtype(model_params=count_parameters(blank), supported_dtypes=supported)
    compute_dtype = manager.unet_manual_cast(dtype, load_device, supported)
    config.set_inference_dtype(dtype, compute_dtype, device=load_device)
    return config.get_model({}, "", device=torch.device(device))


def _text_encoder(recipe: Recipe) -> torch.nn.Module:
    """The text encoder on the meta device."""
    manager = comfy.model_management
    dtype = TORCH_DTYPES.get(recipe.dtype) or manager.text_encoder_dtype(
        manager.text_encoder_device()
    )
    options = dict(recipe.variant.text_encoder_config)
    encoder = recipe.variant.clip_target().clip
    return encoder(dtype=dtype, device=torch.device("meta"), model_options=options)


def parameter_counts(recipe: Recipe) -> dict[str, int]:
    """Parameters of the parts ``model``, ``clip`` and ``vae``, without allocating them."""
    with torch.device("meta"):
        vae = recipe.variant.vae()
    unet = _diffusion_model(recipe, "meta").diffusion_model
    parts = {"model": unet, "clip": _text_encoder(recipe), "vae": vae}
    return {part: count_parameters(module) for part, module in parts.items()}


def _check_memory(recipe: Recipe) -> None:
    unet = _diffusion_model(recipe, "meta").diffusion_model
    needed = size_bytes(unet) + size_bytes(_text_encoder(recipe))
    manager = comfy.model_management
    device = manager.unet_offload_device()
    if manager.is_device_cpu(device):
        free, where = psutil.virtual_memory().available, "of main memory"
    else:
        free, where = manager.get_free_memory(device), f"on {device}"
    if needed > free:
        raise NotEnoughMemoryError(
            f"{recipe.identity.model} in {recipe.dtype} needs {needed / 1e9:.1f} GB for its "
            f"weights, but only {free / 1e9:.1f} GB {where} are free. Choose a smaller dtype, the "
            "tiny size or a smaller architecture, or free memory."
        )
